"""Signed maps of several gradient CAMs from one reading of activations and gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from xaimed_kernels.backends import Backend, choose_backend, plain_arithmetic
from xaimed_kernels.gradient_maps.formula import Formula, GradientMaps, Weigh

__all__ = ["Formula", "GradientMaps", "Weigh", "gradient_maps"]


def gradient_maps(
    activations: Tensor, gradients: Tensor, formulas: Sequence[Formula], *, backend: Backend | None = None
) -> GradientMaps:
    """The signed maps of all ``formulas`` for activations and gradients ``[n, c, *spatial]``, any strides.

    Sums run in float32 (float64 for float64 input) and so are the results. Raises ValueError for shapes,
    devices or formulas that do not fit, TypeError for dtypes.
    """
    _check(activations, gradients, formulas)
    match choose_backend(activations, backend):
        case "reference":
            from xaimed_kernels.gradient_maps.reference import gradient_maps_reference as run
        case "cpu":
            from xaimed_kernels.gradient_maps.cpu import gradient_maps_in_blocks as run
        case "triton":
            from xaimed_kernels.gradient_maps.launch import gradient_maps_triton as run
    with plain_arithmetic(activations.device):
        return run(activations, gradients, tuple(formulas))


def _check(activations: Tensor, gradients: Tensor, formulas: Sequence[Formula]) -> None:
    if activations.ndim < 3 or 0 in activations.shape:
        raise ValueError(
            f"activations must be [n, c, *spatial] with nothing empty, got {tuple(activations.shape)}"
        )
    if gradients.shape != activations.shape:
        raise ValueError(
            f"gradients must have the activations' shape {tuple(activations.shape)}, "
            f"got {tuple(gradients.shape)}; expand them with .expand_as(activations)"
        )
    if gradients.device != activations.device:
        raise ValueError(
            f"activations are on {activations.device}, gradients on {gradients.device}; move one"
        )
    if not gradients.is_floating_point():
        raise TypeError(f"gradients must be floating-point, got {gradients.dtype}")
    if not formulas:
        raise ValueError("no formula given; pass at least one Formula")

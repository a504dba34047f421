"""The weighted sum of activation maps over channels, with weights given from outside."""

from __future__ import annotations

from torch import Tensor

from xaimed_kernels.backends import Backend, choose_backend, plain_arithmetic


def weighted_map(activations: Tensor, weights: Tensor, *, backend: Backend | None = None) -> Tensor:
    """``map = sum_k w_k a_k``, ``[n, *spatial]``, from activations ``[n, c, *spatial]``, any strides.

    ``weights``: ``[n, c]``, or ``[n, c, *spatial]`` for one weight per position. Sums run in float32 (float64
    for float64 activations) and so is the result. Raises ValueError for shapes or devices that do not fit,
    TypeError for dtypes.
    """
    check_activations_and_weights(activations, weights)
    match choose_backend(activations, backend):
        case "reference":
            from xaimed_kernels.weighted_map.reference import weighted_map_reference as run
        case "cpu":
            from xaimed_kernels.weighted_map.cpu import weighted_map_cpu as run
        case "triton":
            from xaimed_kernels.weighted_map.launch import weighted_map_triton as run
    with plain_arithmetic(activations.device):
        return run(activations, weights)


def check_activations_and_weights(activations: Tensor, weights: Tensor) -> None:
    """Refuse activations that are not ``[n, c, *spatial]`` and weights that are neither n c nor like them."""
    if activations.ndim < 3 or 0 in activations.shape:
        raise ValueError(
            f"activations must be [n, c, *spatial] with nothing empty, got {tuple(activations.shape)}"
        )
    if weights.shape not in (activations.shape, activations.shape[:2]):
        raise ValueError(
            f"weights must be {tuple(activations.shape[:2])} or {tuple(activations.shape)}, "
            f"got {tuple(weights.shape)}"
        )
    if weights.device != activations.device:
        raise ValueError(f"activations are on {activations.device}, weights on {weights.device}; move one")
    if not weights.is_floating_point():
        raise TypeError(f"weights must be floating-point, got {weights.dtype}; convert them with .float()")

"""The definition of ``gradient_maps``: every formula evaluated on the whole tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.backends import working_dtype
from xaimed_kernels.gradient_maps.formula import Formula, GradientMaps


def gradient_maps_reference(
    activations: Tensor, gradients: Tensor, formulas: tuple[Formula, ...]
) -> GradientMaps:
    """``map = sum_k w_k * a_k`` for each formula; shapes as :func:`gradient_maps`."""
    a = activations.flatten(2).to(working_dtype(activations.dtype))
    g = gradients.flatten(2).to(a.dtype)
    weights = [formula.weights(a, g, total, a.shape[2]) for formula in formulas]
    maps = torch.stack([(w * a).sum(1) for w in weights])
    per_channel = [w[..., 0] if f.per_channel else None for f, w in zip(formulas, weights, strict=True)]
    return GradientMaps(maps.unflatten(2, activations.shape[2:]), tuple(per_channel))


def total(x: Tensor) -> Tensor:
    """The sum over positions, the axis kept: what formulas get as ``total``."""
    return x.sum(-1, keepdim=True)

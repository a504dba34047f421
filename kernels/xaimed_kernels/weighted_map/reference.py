"""The definition of ``weighted_map``."""

from __future__ import annotations

from torch import Tensor

from xaimed_kernels.backends import working_dtype


def weighted_map_reference(activations: Tensor, weights: Tensor) -> Tensor:
    """``sum_k w_k a_k``; shapes as :func:`weighted_map`."""
    a = activations.flatten(2).to(working_dtype(activations.dtype))
    w = weights.reshape(*weights.shape[:2], -1).to(a.dtype)
    return (w * a).sum(1).unflatten(1, activations.shape[2:])

"""The CPU path of ``weighted_map``."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.backends import working_dtype


def weighted_map_cpu(activations: Tensor, weights: Tensor) -> Tensor:
    """A batched product ``[1, c] x [c, s]`` for weights n c, else a pointwise sum."""
    a = activations.flatten(2).to(working_dtype(activations.dtype))
    w = weights.to(a.dtype)
    raw = torch.bmm(w.unsqueeze(1), a).squeeze(1) if weights.ndim == 2 else (w.flatten(2) * a).sum(1)
    return raw.unflatten(1, activations.shape[2:])

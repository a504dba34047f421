"""The CPU path of ``principal_map``: the smaller Gram matrix and its top eigenvector."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.backends import working_dtype
from xaimed_kernels.principal_map.reference import orient


def principal_map_cpu(activations: Tensor, weights: Tensor | None) -> Tensor:
    """Shapes as :func:`principal_map`; the sign is the evidence's."""
    a = activations.flatten(2).to(working_dtype(activations.dtype))
    x = a if weights is None else a * weights.reshape(*weights.shape[:2], -1).to(a.dtype)
    evidence = x.sum(1)
    x = x - x.mean(2, keepdim=True)
    scale = x.abs().amax((1, 2), keepdim=True)
    x = x / torch.where(scale > 0, scale, 1)
    if x.shape[2] <= x.shape[1]:
        values, vectors = torch.linalg.eigh(x.mT @ x)
        raw = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(x @ x.mT)
        raw = torch.bmm(vectors[:, :, -1].unsqueeze(1), x).squeeze(1)
    return orient(raw * scale[:, 0], evidence).unflatten(1, activations.shape[2:])

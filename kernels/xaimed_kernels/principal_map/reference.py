"""The definition of ``principal_map``: a full singular value decomposition per image."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.backends import working_dtype

NEARLY_ORTHOGONAL = 1e-4
"""Cosine between map and evidence under which the evidence decides no sign."""


def principal_map_reference(activations: Tensor, weights: Tensor | None) -> Tensor:
    """``X v1`` with the sign rule of :func:`principal_map`, whose shapes these are."""
    a = activations.flatten(2).to(working_dtype(activations.dtype))
    x = a if weights is None else a * weights.reshape(*weights.shape[:2], -1).to(a.dtype)
    finite = x.isfinite().flatten(1).all(1)
    x = x.where(finite[:, None, None], 0)
    centred = centre(x).mT
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    raw = (centred @ directions[:, 0].unsqueeze(2)).squeeze(2)
    raw = orient(raw, x.sum(1)).where(finite[:, None], torch.nan)
    return raw.unflatten(1, activations.shape[2:])


def centre(x: Tensor) -> Tensor:
    """``x [n, c, s]`` with each channel's mean taken out: exactly 0 where its positions are all alike.

    The first position is taken out before the mean: a sum of equal numbers may round, their differences do not.
    """
    x = x - x[:, :, :1]
    return x.sub_(x.mean(2, keepdim=True))


def orient(raw: Tensor, evidence: Tensor) -> Tensor:
    """``raw [n, s]`` or its negative, whichever agrees with ``evidence [n, s]`` (else ``|min| <= max``)."""
    evidence = _unit_extent(evidence - evidence.mean(1, keepdim=True))
    unit = _unit_extent(raw)
    agreement = (unit * evidence).sum(1)
    undecided = agreement.abs() <= NEARLY_ORTHOGONAL * unit.norm(dim=1) * evidence.norm(dim=1)
    flip = torch.where(undecided, -raw.amin(1) > raw.amax(1), agreement < 0)
    return torch.where(flip.unsqueeze(1), -raw, raw)


def _unit_extent(maps: Tensor) -> Tensor:
    """Maps ``[n, s]`` over their largest absolute value: products of small ones would underflow."""
    extent = maps.abs().amax(1, keepdim=True)
    return maps / extent.where(extent > 0, 1.0)

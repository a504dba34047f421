"""The CPU path of ``principal_map``: the smaller Gram matrix and its top eigenvector."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.backends import working_dtype
from xaimed_kernels.principal_map.reference import centre, orient

DENSE = 64
"""Up to this side a full ``eigh`` costs no more than Krylov steps (measured: README)."""

STEPS, CYCLES, TOLERANCE = 12, 6, 1e-6
"""Krylov steps per cycle, cycles at most, and the residual, as part of the eigenvalue, that ends them."""

SPANNED = 1e-7
"""Part of a vector left by orthogonalisation under which it is rounding: the steps have spanned all there is."""


def principal_map_cpu(activations: Tensor, weights: Tensor | None) -> Tensor:
    """Shapes as :func:`principal_map`; the sign is the evidence's."""
    a = activations.flatten(2).to(working_dtype(activations.dtype))
    x = a if weights is None else a * weights.reshape(*weights.shape[:2], -1).to(a.dtype)
    evidence = x.sum(1)
    x = centre(x)
    scale = x.abs().amax((1, 2), keepdim=True)
    finite = scale.isfinite()
    x = (x / torch.where(scale > 0, scale, 1)).where(finite, 0)
    if x.shape[2] <= x.shape[1]:
        gram = torch.bmm(x.mT, x)
        raw = top_eigenvectors(gram)
        raw = raw * torch.bmm(gram, raw.unsqueeze(2)).norm(dim=1).sqrt()
    else:
        raw = torch.bmm(top_eigenvectors(torch.bmm(x, x.mT)).unsqueeze(1), x).squeeze(1)
    raw = orient(raw * scale[:, 0], evidence).where(finite[:, 0], torch.nan)
    return raw.unflatten(1, activations.shape[2:])


def top_eigenvectors(grams: Tensor) -> Tensor:
    """Unit eigenvectors ``[n, d]`` of the largest eigenvalue of symmetric, positive ``grams [n, d, d]``.

    Restarted Krylov steps with full orthogonalisation and Rayleigh-Ritz; where they do not reach the
    tolerance (no gap to the next eigenvalue), ``eigh``.
    """
    if grams.shape[1] <= DENSE:
        return torch.linalg.eigh(grams)[1][:, :, -1]
    vector = _generic_vector(grams)
    for _ in range(CYCLES):
        vector, residual = _krylov_cycle(grams, vector)
        if bool((residual <= TOLERANCE).all()):
            return vector
    return torch.linalg.eigh(grams)[1][:, :, -1]


def _generic_vector(grams: Tensor) -> Tensor:
    """A start that no structure of the data is orthogonal to: multiples of the golden ratio modulo 1."""
    steps = torch.arange(1, grams.shape[1] + 1, dtype=grams.dtype) * 0.6180339887
    return (steps % 1 - 0.5).expand(len(grams), -1)


def _krylov_cycle(grams: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The best vector of span(v, Gv, ..., G^(STEPS-1) v) and its residual over its eigenvalue, ``[n]``."""
    n, d, _ = grams.shape
    basis, images = grams.new_zeros(n, STEPS, d), grams.new_zeros(n, STEPS, d)
    vector = start
    for step in range(STEPS):
        before = vector.norm(dim=1, keepdim=True)
        for _ in range(2 if step else 0):
            seen = basis[:, :step]
            vector = vector - torch.bmm(torch.bmm(vector.unsqueeze(1), seen.mT), seen).squeeze(1)
        norm = vector.norm(dim=1, keepdim=True)
        spanned = norm <= SPANNED * before
        basis[:, step] = torch.where(spanned, 0, vector / torch.where(spanned, 1, norm))
        vector = torch.bmm(grams, basis[:, step].unsqueeze(2)).squeeze(2)
        images[:, step] = vector
    values, mixtures = torch.linalg.eigh(torch.bmm(basis, images.mT))
    mixture, value = mixtures[:, :, -1].unsqueeze(1), values[:, -1:]
    best, image = torch.bmm(mixture, basis).squeeze(1), torch.bmm(mixture, images).squeeze(1)
    residual = (image - value * best).norm(dim=1)
    scale = value.squeeze(1).abs()  # 0 for an image of no variation: any vector is an eigenvector
    return torch.nn.functional.normalize(best, dim=1), residual / scale.where(scale > 0, 1.0)

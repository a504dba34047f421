"""KPCA-CAM's map: the first kernel principal component of a layer's positions."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

LARGEST_DENSE: Final = 512
"""Positions up to which the whole decomposition costs less than an iteration (sklearn's bound is 200)."""
TOLERANCE: Final = 1e-10
NOTHING: Final = 1e-13
"""Eigenvalues below this for each position are rounding of a kernel whose values are about 1."""


@torch.no_grad()
def kernel_component(activations: Tensor) -> Tensor:
    """Signed map ``[n, *positions]`` of activations ``[n, c, *positions]``, in float64 inside.

    Source: KPCA-CAM (arXiv 2410.00267) with the sigmoid kernel ``tanh(x y / c + 1)``. ``sqrt(l_1) u_1`` of the centred
    Gram matrix of positions; what reaches farthest from 0 is positive. 0 where positions do not differ, NaN for an
    image with NaN or infinity. Costs s^2 c + s^3 for s positions, the last for no more than `LARGEST_DENSE` of them.
    """
    x = activations.flatten(2).mT.double()
    finite = x.isfinite().flatten(1).all(1)
    maps = [
        _component(one) if bool(good) else one.new_full((len(one),), torch.nan)
        for one, good in zip(x, finite, strict=True)
    ]
    return torch.stack(maps).to(torch.float32).unflatten(1, activations.shape[2:])


def _component(x: Tensor) -> Tensor:
    """``[s]`` of one image's positions ``[s, c]``."""
    x = x - x[:1]  # equal positions become exactly 0
    x = x - x.mean(0)
    gram = (x @ x.T / x.shape[1] + 1).tanh()
    gram = gram - gram.mean(0, keepdim=True) - gram.mean(1, keepdim=True) + gram.mean()
    value, vector = _largest(gram)
    if value <= NOTHING * len(gram):
        return torch.zeros_like(vector)
    farthest = vector[vector.abs().argmax()]
    return vector * value.sqrt() * farthest.sign()


def _largest(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue and its vector."""
    if len(gram) > LARGEST_DENSE:
        start = torch.randn(len(gram), 8, generator=torch.Generator().manual_seed(0), dtype=gram.dtype).to(
            gram.device
        )
        values, vectors = torch.lobpcg(gram, X=start, niter=100, tol=TOLERANCE)
        value, vector = values[0], vectors[:, 0]
        if bool((gram @ vector - value * vector).norm() <= 1e-6 * value.abs()):
            return value, vector
    values, vectors = torch.linalg.eigh(gram)
    return values[-1], vectors[:, -1]

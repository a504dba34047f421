"""KPCA-CAM's map: the first kernel principal component of a layer's positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

Kernel = Literal["linear", "poly", "rbf", "sigmoid", "cosine"]
"""scikit-learn's kernels, at its degree 3 and constant 1."""

LARGEST_DENSE: Final = 512
"""Positions up to which the whole decomposition costs less than an iteration (sklearn's bound is 200)."""
TOLERANCE: Final = 1e-10
NOTHING: Final = 1e-13
"""Eigenvalues below this share of the kernel's largest value, for each position, are its rounding."""


@torch.no_grad()
def kernel_component(activations: Tensor, kernel: Kernel = "sigmoid", gamma: float | None = None) -> Tensor:
    """Signed map ``[n, *positions]`` of activations ``[n, c, *positions]``, in float64 inside.

    Source: KPCA-CAM (arXiv 2410.00267) with the sigmoid kernel ``tanh(gamma x y + 1)``, ``gamma`` 1 / c where None.
    ``sqrt(l_1) u_1`` of the centred Gram matrix of positions; what reaches farthest from 0 is positive. 0 where
    positions do not differ, NaN for an image with NaN or infinity. Costs s^2 c + s^3 for s positions, the last for no
    more than `LARGEST_DENSE` of them.
    """
    x = activations.flatten(2).mT.double()
    finite = x.isfinite().flatten(1).all(1)
    scale = 1 / x.shape[2] if gamma is None else gamma
    maps = [
        _component(one, kernel, scale) if bool(good) else one.new_full((len(one),), torch.nan)
        for one, good in zip(x, finite, strict=True)
    ]
    return torch.stack(maps).to(torch.float32).unflatten(1, activations.shape[2:])


def check_kernel(kernel: object, gamma: object) -> None:
    """Raise ValueError for an unknown `Kernel`, or a ``gamma`` that is not above 0."""
    if kernel not in get_args(Kernel):
        raise ValueError(f"no kernel {kernel!r}; choose {', '.join(get_args(Kernel))}")
    if gamma is not None and not (isinstance(gamma, int | float) and 0 < gamma < float("inf")):
        raise ValueError(f"gamma must be a number above 0, or None for 1 / channels; got {gamma!r}")


_KERNELS: Final[dict[Kernel, Callable[[Tensor, float], Tensor]]] = {
    "linear": lambda x, _scale: x @ x.T,
    "poly": lambda x, scale: (scale * (x @ x.T) + 1) ** 3,
    "rbf": lambda x, scale: (-scale * torch.cdist(x, x).square()).exp(),
    "sigmoid": lambda x, scale: (scale * (x @ x.T) + 1).tanh(),
    "cosine": lambda x, _scale: functional.normalize(x) @ functional.normalize(x).T,
}
"""The values of a kernel between positions ``[s, c]``."""


def _component(x: Tensor, kernel: Kernel, scale: float) -> Tensor:
    """``[s]`` of one image's positions ``[s, c]``."""
    x = x - x[:1]  # equal positions become exactly 0
    x = x - x.mean(0)
    gram = _KERNELS[kernel](x, scale)
    rounding = NOTHING * len(gram) * gram.abs().amax()
    gram = gram - gram.mean(0, keepdim=True) - gram.mean(1, keepdim=True) + gram.mean()
    value, vector = _largest(gram)
    if value <= rounding:
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

"""Non-negative matrix factorisation, on the device of its matrix: scikit-learn's coordinate descent, by columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def factorise(
    matrix: Tensor, components: int, *, rounds: int = 200, tolerance: float = 1e-4, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """``W [r, k]`` and ``H [k, c]``, neither negative, whose product is near ``matrix [r, c]``.

    Source: HALS (Cichocki and Phan 2009), from the start and to the end that scikit-learn's ``NMF(init="random")``
    takes, so that both find the same factors. One round costs 4 r c k. Raises ValueError for a signed matrix, one that
    is not finite, or fewer than one component.
    """
    if components < 1:
        raise ValueError(f"the number of components must be at least 1, got {components}")
    if not bool(((matrix >= 0) & matrix.isfinite()).all()):
        raise ValueError(
            "a factorisation needs finite values of 0 and above; take each channel's minimum off"
        )
    rows, columns = matrix.shape
    drawn = np.random.RandomState(seed)  # scikit-learn's numbers
    size = (matrix.double().mean() / components).sqrt()
    right = torch.from_numpy(drawn.standard_normal((components, columns))).abs()
    left = torch.from_numpy(drawn.standard_normal((rows, components))).abs()
    right_t, left = ((size * x.to(matrix.device)).to(matrix.dtype) for x in (right.T.contiguous(), left))
    first = None
    for _ in range(rounds):
        violation = _descend(left, right_t, matrix) + _descend(right_t, left, matrix.T)
        first = violation if first is None else first
        if violation <= tolerance * first:
            break
    return left, right_t.T


def _descend(w: Tensor, h: Tensor, matrix: Tensor) -> float:
    """One round of ``w [r, k]`` for ``matrix ~ w h^T``, in place; how far its slopes were from a minimum."""
    gram, goal = h.T @ h, matrix @ h
    violation = torch.zeros((), dtype=torch.float64, device=w.device)
    for t in range(w.shape[1]):
        slope = w @ gram[:, t] - goal[:, t]
        blocked = torch.where(w[:, t] == 0, slope.clamp(max=0), slope)
        violation += blocked.abs().sum(dtype=torch.float64)
        if bool(gram[t, t] != 0):
            w[:, t] = (w[:, t] - slope / gram[t, t]).clamp(min=0)
    return float(violation)

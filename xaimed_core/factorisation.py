"""Non-negative matrix factorisation, on the device of its matrix: scikit-learn's coordinate descent, by columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xaimed_core.numbers_given import is_whole

ROUNDS, TOLERANCE = 200, 1e-4
"""scikit-learn's own defaults."""


def factorise(matrix: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """``W [r, k]`` and ``H [k, c]``, neither negative, whose product is near ``matrix [r, c]``.

    Source: HALS (Cichocki and Phan 2009), from the start and to the end that scikit-learn's ``NMF(init="random")``
    takes, so that both find the same factors. One round costs 4 r c k. Raises ValueError for a signed matrix, one that
    is not finite, or fewer than one component.
    """
    if not is_whole(components) or components < 1:
        raise ValueError(f"the number of components must be at least 1, got {components}")
    if not bool(((matrix >= 0) & matrix.isfinite()).all()):
        raise ValueError(
            "a factorisation needs finite values of 0 and above; take each channel's minimum off"
        )
    rows, columns = matrix.shape
    drawn = np.random.RandomState(0)  # scikit-learn's numbers
    size = (matrix.double().mean() / components).sqrt()
    h = torch.from_numpy(drawn.standard_normal((components, columns))).abs()
    w = torch.from_numpy(drawn.standard_normal((rows, components))).abs().T.contiguous()
    h, w = ((size * x.to(matrix.device)).to(matrix.dtype) for x in (h, w))
    first = None
    for _ in range(ROUNDS):
        violation = _descend(w, h @ h.T, h @ matrix.T) + _descend(h, w @ w.T, w @ matrix)
        first = violation if first is None else first
        if violation <= TOLERANCE * first:
            break
    return w.T, h


def _descend(factor: Tensor, gram: Tensor, goal: Tensor) -> float:
    """One round over the rows of ``factor [k, r]``, in place; how far its slopes were from a minimum.

    ``gram [k, k]`` is the other factor by itself, ``goal [k, r]`` by the matrix.
    """
    before, slopes = factor.clone(), torch.empty_like(factor)
    for row, slope, across, wanted, curvature in zip(
        factor, slopes, gram, goal, gram.diagonal().tolist(), strict=True
    ):
        torch.addmv(wanted, factor.T, across, beta=-1, out=slope)
        if curvature != 0:
            row.sub_(slope, alpha=1 / curvature).clamp_(min=0)
    blocked = torch.where(before == 0, slopes.clamp(max=0), slopes)
    return float(blocked.abs().sum(dtype=torch.float64))

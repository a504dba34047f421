"""The definition of ROAD's imputation: a sparse direct solution in float64.

Rong et al. 2022 (arXiv 2202.00449), section 4.2: each removed pixel i is the weighted mean of its neighbours,
``sum_j w_ij (u_j - u_i) = 0`` over the 8 neighbours inside the image, 1/6 straight and 1/12 diagonal.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaimed_kernels.impute.imputation import Filled

NEIGHBOURS = tuple(
    (dy, dx, (2.0 if dy * dx == 0 else 1.0) / 12)
    for dy in (-1, 0, 1)
    for dx in (-1, 0, 1)
    if (dy, dx) != (0, 0)
)
"""Row offset, column offset, weight."""


def impute_directly(images: Tensor, keep: Tensor, tol: float) -> Filled:
    """Shapes as :class:`Filled`: images ``[n, c, h, w]``, keep ``[n, p, h, w]``; ``tol`` is not needed.
    The error is 0, or NaN where a kept pixel is not finite."""
    n = len(images)
    values, kept = images.double().cpu().numpy(), keep.cpu().numpy()
    filled = np.stack([[solve(values[i], mask) for mask in kept[i]] for i in range(n)])
    error = (images.unsqueeze(1) * 0).masked_fill(~keep.unsqueeze(2), 0.0).sum((-2, -1), dtype=torch.float32)
    return Filled(
        torch.from_numpy(filled).to(images.device), torch.zeros_like(error, dtype=torch.int32), error
    )


def solve(image: NDArray[np.float64], keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill one image ``[c, h, w]`` where ``keep [h, w]`` is False; 0 where nothing is kept. Needs SciPy."""
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.linalg import splu
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'backend="reference" needs SciPy, which is not installed: pip install scipy, or leave backend out',
            name=error.name,
        ) from None

    filled = np.where(keep, image, 0.0)
    if keep.all() or not keep.any():
        return filled
    rows, columns = np.nonzero(~keep)
    number = np.full(keep.shape, -1)
    number[rows, columns] = unknowns = np.arange(len(rows))
    weights = np.zeros(len(rows))
    known = np.zeros((len(rows), len(image)))
    entries = [(unknowns, unknowns, weights)]
    for dy, dx, weight in NEIGHBOURS:
        y, x = rows + dy, columns + dx
        here = np.flatnonzero((y >= 0) & (y < keep.shape[0]) & (x >= 0) & (x < keep.shape[1]))
        weights[here] += weight
        given = keep[y[here], x[here]]
        known[here[given]] += weight * image[:, y[here[given]], x[here[given]]].T
        free = here[~given]
        entries.append((free, number[y[free], x[free]], np.full(len(free), -weight)))
    i, j, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    matrix = coo_array((value, (i, j)), shape=(len(rows), len(rows))).tocsc()
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    filled[:, rows, columns] = factors.solve(known).T
    return filled


def residual(filled: Tensor, keep: Tensor) -> Tensor:
    """``sum_j w_ij (u_j - u_i)`` at removed pixels, 0 at kept ones. Shapes ``[n, p, c, h, w]``, ``[n, p, h, w]``."""
    inside = torch.nn.functional.pad(torch.ones_like(filled), (1, 1, 1, 1))
    padded = torch.nn.functional.pad(filled, (1, 1, 1, 1))
    h, w = filled.shape[-2:]
    total = torch.zeros_like(filled)
    for dy, dx, weight in NEIGHBOURS:
        window = (..., slice(1 + dy, 1 + dy + h), slice(1 + dx, 1 + dx + w))
        total += weight * inside[window] * (padded[window] - filled)
    return total.masked_fill_(keep.unsqueeze(2), 0.0)

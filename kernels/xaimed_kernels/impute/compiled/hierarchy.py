"""The multigrid's operators for one mask, compiled by Numba: everything that depends on the mask alone.

A coarse operator couples a point to 8 neighbours and is symmetric: 5 planes hold the point itself and the
coupling to east, south-west, south and south-east.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xaimed_kernels.impute import levels
from xaimed_kernels.impute.compiled import compiled, compiled_in_any_order, entry, inlined, storage
from xaimed_kernels.impute.compiled.storage import Floats, Hierarchy, Ints, Pixels

C, E, SW, S, SE = 0, 1, 2, 3, 4
HALF, QUARTER, ZERO, ONE, TWO = (np.float32(v) for v in (0.5, 0.25, 0.0, 1.0, 2.0))
STIFF = np.float32(levels.STIFFER)


@entry(storage, levels)
def build(keep: NDArray[np.bool_], hierarchy: Hierarchy) -> None:
    """Fill ``hierarchy`` for ``keep [h, w]``; its arrays hold zeros outside of grids and are reused."""
    grids, planes, inverse = hierarchy.grids, hierarchy.planes, hierarchy.inverse
    for level in range(1, len(grids)):
        size, start = grids[level, 3], grids[level, 4]
        coarse = planes[5 * start : 5 * (start + size)]
        if level == 1:
            _galerkin_of_mask(keep, hierarchy, coarse)
        else:
            before = grids[level - 1]
            fine = planes[5 * before[4] : 5 * (before[4] + before[3])]
            _galerkin(fine, before[3], before[2], coarse, grids[level], hierarchy.work)
        _invert_diagonal(coarse, grids[level], inverse[start : start + size])
    last = grids[-1]
    _factorise(planes[5 * last[4] : 5 * (last[4] + last[3])], last, hierarchy.band)


@compiled
def diagonal(y: int, height: int, x: int, width: int) -> int:
    """The sum of a pixel's weights in twelfths: 12 inside, 8 at edges, 5 at corners; less in a single row."""
    return (2 + (y > 0) + (y < height - 1)) * (2 + (x > 0) + (x < width - 1)) - 4


@entry(storage, levels)
def relaxation(keep: NDArray[np.bool_], relax: Pixels) -> None:
    """1/diagonal at the removed pixels of ``keep [h, w]``, 0 at kept ones, on the image's grid."""
    height, width = keep.shape
    stride = width + 3
    for y in range(height):
        row = relax[(y + 1) * stride + 1 : (y + 1) * stride + 1 + width]
        inside = 1 / max(diagonal(y, height, 1, 3), 1)
        for x in range(width):
            row[x] = 0.0 if keep[y, x] else inside
        for x in (0, width - 1):
            if not keep[y, x] and diagonal(y, height, x, width) > 0:
                row[x] = 1 / diagonal(y, height, x, width)


@inlined
def _galerkin_of_mask(keep: NDArray[np.bool_], hierarchy: Hierarchy, coarse: Floats) -> None:
    """Level 1's operator: three rows of the image's operator at a time, from the mask alone."""
    stride, grid, rows, work = hierarchy.grids[0, 2], hierarchy.grids[1], hierarchy.rows, hierarchy.work
    for row in range(grid[0]):
        for k in range(3):
            _image_operator(keep, 2 * row - 1 + k, rows[5 * k * stride :], hierarchy.removed)
        _coarsen_rows(rows, stride, 5 * stride, work, stride)
        _coarsen_columns(work, coarse, row, grid, stride)


@inlined
def _image_operator(keep: NDArray[np.bool_], y: int, rows: Floats, removed: Floats) -> None:
    """Row ``y`` of the image's operator in its 5 planes ``rows [5, stride]``: zero at kept pixels and outside."""
    height, width = keep.shape
    stride = width + 3
    for k in range(2):
        out = removed[k, 1 : width + 1]
        if 0 <= y + k < height:
            kept = keep[y + k]
            for x in range(width):
                out[x] = ZERO if kept[x] else ONE
        else:
            for x in range(width):
                out[x] = ZERO
    m, below = removed[0], removed[1]
    inside = np.float32(diagonal(y, height, 1, 3))
    c, e, sw = rows[:stride], rows[stride : 2 * stride], rows[2 * stride : 3 * stride]
    s, se = rows[3 * stride : 4 * stride], rows[4 * stride : 5 * stride]
    for i in range(stride):
        c[i] = inside * m[i]
    c[1] = np.float32(diagonal(y, height, 0, width)) * m[1]
    c[width] = np.float32(diagonal(y, height, width - 1, width)) * m[width]
    for i in range(stride):
        e[i] = -TWO * m[i] * m[i + 1]
    for i in range(stride):
        s[i] = -TWO * m[i] * below[i]
    for i in range(stride):
        se[i] = -m[i] * below[i + 1]
    for i in range(stride - 1):
        sw[i + 1] = -m[i + 1] * below[i]


@inlined
def _galerkin(fine: Floats, size: int, stride: int, coarse: Floats, grid: Ints, work: Floats) -> None:
    """``P^T A P`` for bilinear P: rows are coarsened first, then columns."""
    for row in range(grid[0]):
        _coarsen_rows(fine[2 * row * stride :], size, stride, work, stride)
        _coarsen_columns(work, coarse, row, grid, stride)


@compiled
def _coarsen_rows(fine: Floats, plane_step: int, row_step: int, work: Floats, length: int) -> None:
    """Join the first three rows of each plane with weights 1/2, 1, 1/2 into ``work[:5, :length]``."""
    for plane in range(5):
        work[plane, length] = ZERO
        start = plane * plane_step
        up = fine[start : start + length]
        mid = fine[start + row_step : start + row_step + length]
        down = fine[start + 2 * row_step : start + 2 * row_step + length]
        out = work[plane]
        if plane < SW:
            for i in range(length):
                out[i] = QUARTER * (up[i] + down[i]) + mid[i]
        else:
            _couple_rows(plane, up, mid, down, work)
    start = C * plane_step + 2 * row_step
    centre = fine[start : start + length]
    start = E * plane_step + 2 * row_step
    east = fine[start : start + length]
    s, se, sw = work[S], work[SE], work[SW]
    for i in range(length):
        s[i] += QUARTER * centre[i]
    for i in range(length):
        se[i] += QUARTER * east[i]
    for i in range(length - 1):
        sw[i + 1] += QUARTER * east[i]


@compiled
def _couple_rows(plane: int, up: Floats, mid: Floats, down: Floats, work: Floats) -> None:
    """Couplings between two rows: part of the joined row itself, and of its coupling to the next joined row."""
    length = len(up)
    out = work[plane]
    for i in range(length):
        out[i] = HALF * (mid[i] + down[i])
    if plane == S:
        within = work[C]
        for i in range(length):
            within[i] += up[i] + mid[i]
    elif plane == SE:
        within = work[E]
        for i in range(length):
            within[i] += HALF * (up[i] + mid[i])
    else:
        within = work[E]
        for i in range(length - 1):
            within[i] += HALF * (up[i + 1] + mid[i + 1])


@compiled
def _coarsen_columns(work: Floats, coarse: Floats, row: int, grid: Ints, length: int) -> None:
    """Join columns 2X - 1, 2X, 2X + 1 of ``work[:5]`` with weights 1/2, 1, 1/2 into row ``row`` of ``coarse``."""
    width, stride, size = grid[1], grid[2], grid[3]
    pairs = (length + 1) // 2
    for plane in range(5):
        joined, left, centre = work[plane], work[5 + 2 * plane], work[6 + 2 * plane]
        for i in range(pairs):
            left[i] = joined[2 * i]
            centre[i] = joined[2 * i + 1]
    c0, c1, e0, e1 = work[5], work[6], work[7], work[8]
    w0, w1, s0, s1, d0, d1 = work[9], work[10], work[11], work[12], work[13], work[14]
    start = (row + 1) * stride + 1
    c = coarse[start : start + width]
    e = coarse[E * size + start : E * size + start + width]
    w = coarse[SW * size + start : SW * size + start + width]
    s = coarse[S * size + start : S * size + start + width]
    d = coarse[SE * size + start : SE * size + start + width]
    for i in range(width):
        c[i] = QUARTER * (c0[i] + c0[i + 1]) + c1[i] + e0[i] + e1[i]
    for i in range(width):
        e[i] = HALF * (e1[i] + e0[i + 1]) + QUARTER * c0[i + 1]
    for i in range(width):
        w[i] = HALF * (w1[i] + w0[i]) + QUARTER * s0[i]
    for i in range(width):
        s[i] = QUARTER * (s0[i] + s0[i + 1]) + s1[i]
    for i in range(width):
        s[i] += HALF * (d0[i] + w1[i] + d1[i] + w0[i + 1])
    for i in range(width):
        d[i] = HALF * (d1[i] + d0[i + 1]) + QUARTER * s0[i + 1]


@inlined
def _invert_diagonal(planes: Floats, grid: Ints, inverse: Floats) -> None:
    """1/(diagonal + sum of positive couplings): the scaling under which no eigenvalue passes 2 (Gershgorin)."""
    stride, size = grid[2], grid[3]
    count = (grid[0] - 1) * stride + grid[1]
    first = stride + 1
    out = inverse[first : first + count]
    centre = planes[first : first + count]
    for i in range(count):
        out[i] = centre[i]
    for plane, back in ((E, 1), (SW, stride - 1), (S, stride), (SE, stride + 1)):
        ahead = planes[plane * size + first : plane * size + first + count]
        behind = planes[plane * size + first - back : plane * size + first - back + count]
        for i in range(count):
            out[i] += (ahead[i] if ahead[i] > ZERO else ZERO) + (behind[i] if behind[i] > ZERO else ZERO)
    for i in range(count):
        out[i] = ONE / out[i] if centre[i] > ZERO else ZERO


@compiled_in_any_order
def _factorise(planes: Floats, grid: Ints, band: Floats) -> None:
    """Cholesky's L D L^T of the coarsest operator, by rows of at most ``width + 1`` couplings."""
    height, width, stride, size = grid[0], grid[1], grid[2], grid[3]
    points = height * width
    for i in range(points):
        y, x = i // width, i % width
        at = (y + 1) * stride + x + 1
        row = band[i]
        row[:] = ZERO
        row[0] = STIFF * planes[at]
        if x + 1 < width:
            row[1] = planes[E * size + at]
        if y + 1 < height:
            if x > 0:
                row[width - 1] += planes[SW * size + at]
            row[width] += planes[S * size + at]
            if x + 1 < width:
                row[width + 1] = planes[SE * size + at]
    for i in range(points):
        row = band[i]
        if row[0] <= ZERO:  # no removed pixel is near this vertex
            continue
        row[0] = ONE / row[0]
        reach = min(width + 1, points - 1 - i)
        for k in range(1, reach + 1):
            factor = row[k] * row[0]
            later, ahead = band[i + k][: reach - k + 1], row[k : reach + 1]
            for j in range(len(ahead)):
                later[j] -= factor * ahead[j]
        for k in range(1, width + 2):
            row[k] *= row[0]

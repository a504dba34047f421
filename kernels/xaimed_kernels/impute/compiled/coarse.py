"""The multigrid's coarser grids for one channel, compiled by Numba. Storage of grids: see `storage`."""

from __future__ import annotations

import numpy as np

from xaimed_kernels.impute.compiled import compiled, compiled_in_any_order, entry, storage
from xaimed_kernels.impute.compiled.storage import Floats, Hierarchy, Ints, Pixels, Scratch

HALF, ZERO = np.float32(0.5), np.float32(0.0)


@entry(storage)
def solve_coarse(hierarchy: Hierarchy, scratch: Scratch, damping: Floats) -> None:
    """Solve level 1 for its right-hand side, from zero (full multigrid, one V-cycle on each level).

    From the coarsest grid up: interpolate the solution, smooth it, correct it from the grids below, smooth it.
    """
    grids = hierarchy.grids
    last = len(grids) - 1
    _descend(last - 1, scratch.b, hierarchy, scratch)
    for level in range(last - 1, 0, -1):
        clear(of(scratch.x, grids[level]))
        _ascend(level, hierarchy, scratch, damping)
        _residual(level, hierarchy, scratch)
        _descend(last - level, scratch.r, hierarchy, scratch)
        for lower in range(last - 1, level, -1):
            clear(of(scratch.x, grids[lower]))
            _ascend(lower, hierarchy, scratch, damping)
        _ascend(level, hierarchy, scratch, damping)


@compiled
def _descend(steps: int, source: Floats, hierarchy: Hierarchy, scratch: Scratch) -> None:
    """Restrict ``source`` (right-hand side or residual) by ``steps`` to the coarsest grid and solve there.

    Steps, for a level would be the literal 1 once, for which Numba compiles a second version.
    """
    grids = hierarchy.grids
    last = len(grids) - 1
    for lower in range(last - steps + 1, last + 1):
        fine = of(source if lower == last - steps + 1 else scratch.b, grids[lower - 1])
        _restrict(fine, grids[lower - 1, 2], of(scratch.b, grids[lower]), grids[lower], scratch.rows[0])
    _solve_directly(
        hierarchy.band, grids[last], of(scratch.b, grids[last]), of(scratch.x, grids[last]), scratch
    )


@compiled
def _ascend(level: int, hierarchy: Hierarchy, scratch: Scratch, damping: Floats) -> None:
    """Add the interpolation of the next coarser solution to that of ``level``, then smooth twice."""
    grids = hierarchy.grids
    grid = grids[level]
    x, r, inverse = of(scratch.x, grid), of(scratch.r, grid), of(hierarchy.inverse, grid)
    _prolong(of(scratch.x, grids[level + 1]), grids[level + 1, 2], x, grid, scratch.rows[0])
    first = grid[2] + 1
    count = (grid[0] - 1) * grid[2] + grid[1]
    new, change, scale = x[first : first + count], r[first : first + count], inverse[first : first + count]
    for k in range(2):
        _residual(level, hierarchy, scratch)
        for i in range(count):
            new[i] += damping[level, k] * scale[i] * change[i]


@compiled
def _residual(level: int, hierarchy: Hierarchy, scratch: Scratch) -> None:
    """``r = b - A x`` on a coarse grid, in three passes: a loop over more arrays is no longer vectorised."""
    grid = hierarchy.grids[level]
    stride, size = grid[2], grid[3]
    count = (grid[0] - 1) * stride + grid[1]
    first = stride + 1
    planes = hierarchy.planes[5 * grid[4] : 5 * (grid[4] + size)]
    x, b = of(scratch.x, grid), of(scratch.b, grid)[first : first + count]
    r = of(scratch.r, grid)[first : first + count]
    up, mid, down = x[: count + 2], x[stride : stride + count + 2], x[2 * stride : 2 * stride + count + 2]
    centre, east = planes[first : first + count], planes[size + stride : size + stride + count + 1]
    for i in range(count):
        r[i] = b[i] - centre[i] * mid[i + 1] - east[i] * mid[i] - east[i + 1] * mid[i + 2]
    southwest = planes[2 * size + first : 2 * size + first + count]
    south = planes[3 * size + first : 3 * size + first + count]
    southeast = planes[4 * size + first : 4 * size + first + count]
    for i in range(count):
        r[i] -= southwest[i] * down[i] + south[i] * down[i + 1] + southeast[i] * down[i + 2]
    northwest, north = planes[4 * size : 4 * size + count], planes[3 * size + 1 : 3 * size + 1 + count]
    northeast = planes[2 * size + 2 : 2 * size + 2 + count]
    for i in range(count):
        r[i] -= northwest[i] * up[i] + north[i] * up[i + 1] + northeast[i] * up[i + 2]


@compiled_in_any_order
def _solve_directly(band: Floats, grid: Ints, b: Floats, x: Floats, scratch: Scratch) -> None:
    """Forward and backward substitution on the coarsest grid."""
    height, width, stride = grid[0], grid[1], grid[2]
    line, reach, points = scratch.line, width + 1, height * width
    for y in range(height):
        copy(b[(y + 1) * stride + 1 :], line[y * width :], width)
    for i in range(points):
        value, row, ahead = line[i], band[i][1 : 1 + reach], line[i + 1 : i + 1 + reach]
        for k in range(reach):
            ahead[k] -= row[k] * value
    clear(line[points : points + reach])
    for i in range(points - 1, -1, -1):
        row, ahead = band[i][1 : 1 + reach], line[i + 1 : i + 1 + reach]
        total = ZERO
        for k in range(reach):
            total += row[k] * ahead[k]
        line[i] = line[i] * band[i, 0] - total
    for y in range(height):
        copy(line[y * width :], x[(y + 1) * stride + 1 :], width)


@compiled
def _prolong(coarse: Floats, narrow: int, x: Floats, grid: Ints, row: Floats) -> None:
    """Add the bilinear interpolation of ``coarse`` (rows of ``narrow``) to all points of ``x``."""
    height, width, stride = grid[0], grid[1], grid[2]
    for y in range(height):
        interpolate_rows(coarse, narrow, y, row)
        out = x[(y + 1) * stride + 1 : (y + 1) * stride + 1 + width]
        for i in range(width // 2):
            out[2 * i] += row[i + 1]
            out[2 * i + 1] += HALF * (row[i + 1] + row[i + 2])
        if width % 2 == 1:
            out[width - 1] += row[width // 2 + 1]


@compiled
def interpolate_rows(coarse: Floats, narrow: int, y: int, row: Floats) -> None:
    """Row ``y`` of the finer grid, between the rows of ``coarse``; columns stay as they are."""
    upper = coarse[(y // 2 + 1) * narrow : (y // 2 + 2) * narrow]
    lower = coarse[((y + 1) // 2 + 1) * narrow : ((y + 1) // 2 + 2) * narrow]
    for i in range(narrow):
        row[i] = HALF * (upper[i] + lower[i])


@compiled
def _restrict(fine: Floats, stride: int, coarse: Floats, grid: Ints, row: Floats) -> None:
    """The transpose of `_prolong`: ``coarse = P^T fine``."""
    width = grid[1]
    for y in range(grid[0]):
        up = fine[2 * y * stride : (2 * y + 1) * stride]
        mid = fine[(2 * y + 1) * stride : (2 * y + 2) * stride]
        down = fine[(2 * y + 2) * stride : (2 * y + 3) * stride]
        for i in range(stride):
            row[i] = HALF * (up[i] + down[i]) + mid[i]
        out = coarse[(y + 1) * grid[2] + 1 : (y + 1) * grid[2] + 1 + width]
        for x in range(width):
            out[x] = HALF * (row[2 * x] + row[2 * x + 2]) + row[2 * x + 1]


@compiled
def copy(source: Pixels, target: Pixels, count: int) -> None:
    """A loop: assigning slices compiles a message about their shapes for seconds."""
    for i in range(count):
        target[i] = source[i]


@compiled
def clear(values: Floats) -> None:
    """Zeros everywhere."""
    for i in range(len(values)):
        values[i] = ZERO


@compiled
def of(values: Floats, grid: Ints) -> Floats:
    """A grid's part of an array that holds all coarse grids."""
    return values[grid[4] : grid[4] + grid[3]]

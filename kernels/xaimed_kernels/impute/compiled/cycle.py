"""The multigrid cycle on one channel, compiled by Numba. The coarser grids: see `coarse`; storage: `storage`.

On the image itself the operator is applied from the mask alone, and kept pixels stand in the solution, so that
there is no right-hand side. Its residual is summed from differences of neighbours: in flat regions they are
exact, so that float32 solves to its last digit on images of any size (README, "Rounding"). The image's grid has the
image's precision, coarser grids float32: in float64 each cycle is a step of iterative refinement.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaimed_kernels.impute.compiled import coarse, compiled, entry, inlined, storage
from xaimed_kernels.impute.compiled.coarse import clear, copy, interpolate_rows, of, solve_coarse
from xaimed_kernels.impute.compiled.storage import Canvas, Floats, Hierarchy, Ints, Pixels, Scratch

HALF, ZERO, ONE, TWO = (np.float32(v) for v in (0.5, 0.0, 1.0, 2.0))


@entry(coarse, storage)
def fill(
    image: Pixels,
    keep: NDArray[np.bool_],
    out: Pixels,
    canvas: Canvas,
    hierarchy: Hierarchy,
    scratch: Scratch,
    damping: Floats,
    tol: float,
    rate: float,
    most: int,
    account: NDArray[np.float64],
) -> None:
    """Fill channels ``image [c, h, w]`` into ``out``; ``account [c, 2]``: cycles, and the estimated error.

    ``damping [levels, 2]``: step sizes of the two smoothing sweeps. ``rate``: what a cycle leaves of the error at
    most; ``most``: cycles after which to give up. The error is NaN where kept pixels are not finite.
    """
    stride = hierarchy.grids[0, 2]
    removed = 0
    for y in range(len(keep)):
        for x in range(keep.shape[1]):
            removed += not keep[y, x]
    for channel in range(len(image)):
        mean, spread = _load(image[channel], keep, canvas.u, stride, canvas.sums)
        cycles, error = 0, 0.0
        if not np.isfinite(spread):
            error = np.nan
        elif spread > 0 and removed > 0:
            cycles, error = _solve(canvas, hierarchy, scratch, damping, tol, rate, most)
        account[channel, 0] = cycles
        account[channel, 1] = error
        _store(image[channel], keep, canvas.u, stride, mean, spread, out[channel])


@inlined
def _load(
    image: Pixels, keep: NDArray[np.bool_], u: Pixels, stride: int, sums: NDArray[np.float64]
) -> tuple[float, float]:
    """Kept pixels into ``u`` as (value - mean) / range, 0 elsewhere; their mean and range (0, 0 for none)."""
    height, width = image.shape
    total, low, high = sums[0], sums[1], sums[2]
    for x in range(width):
        total[x], low[x], high[x] = 0.0, np.inf, -np.inf
    count = 0
    for y in range(height):
        values, kept = image[y], keep[y]
        for x in range(width):
            total[x] += np.float64(values[x]) if kept[x] else 0.0
        for x in range(width):
            value = np.float64(values[x])
            low[x] = value if kept[x] and value < low[x] else low[x]
            high[x] = value if kept[x] and value > high[x] else high[x]
        for x in range(width):
            count += kept[x]
    if count == 0:
        return 0.0, 0.0
    for x in range(1, width):
        total[0] += total[x]
        low[0] = low[x] if low[x] < low[0] else low[0]
        high[0] = high[x] if high[x] > high[0] else high[0]
    mean = total[0] / count
    spread = high[0] - low[0] + (mean - mean)  # NaN where a kept pixel is not finite
    scale = 1.0 / spread if spread > 0 else 0.0
    for y in range(height):
        values, kept = image[y], keep[y]
        row = u[(y + 1) * stride + 1 : (y + 1) * stride + 1 + width]
        for x in range(width):
            row[x] = (np.float64(values[x]) - mean) * scale if kept[x] else 0.0
    return mean, spread


@inlined
def _store(
    image: Pixels,
    keep: NDArray[np.bool_],
    u: Pixels,
    stride: int,
    mean: float,
    spread: float,
    out: Pixels,
) -> None:
    height, width = image.shape
    for y in range(height):
        values, kept, filled = image[y], keep[y], out[y]
        row = u[(y + 1) * stride + 1 : (y + 1) * stride + 1 + width]
        for x in range(width):
            filled[x] = values[x] if kept[x] else mean + spread * np.float64(row[x])


@inlined
def _solve(
    canvas: Canvas,
    hierarchy: Hierarchy,
    scratch: Scratch,
    damping: Floats,
    tol: float,
    rate: float,
    most: int,
) -> tuple[int, float]:
    """Cycle until the estimated error of ``canvas.u`` is at most ``tol``: cycles, estimate.

    A cycle that leaves a part q of the error moves the solution by at least (1 - q) of it, so that the error left
    is at most step * q / (1 - q). q is ``rate``, or what the last two steps show if that is more.
    """
    grids, relax, u = hierarchy.grids, canvas.relax, canvas.u
    image, size = grids[0], grids[0, 3]
    last, error = 0.0, np.inf
    for cycle in range(1, most + 1):
        copy(u, canvas.before, size)
        _restrict_image(u, relax, image, scratch, grids[1])
        solve_coarse(hierarchy, scratch, damping)
        _prolong_image(of(scratch.x, grids[1]), grids[1], u, relax, image, scratch.rows[0])
        for _ in range(2):
            _sweep_image(u, canvas.other, relax, damping[0, 0], image)
            _sweep_image(canvas.other, u, relax, damping[0, 1], image)
        step = np.float64(_largest_change(u, canvas.before, size, canvas.lanes))
        if not np.isfinite(step):
            return cycle, np.inf
        if cycle > 1:  # the first step is the whole fill
            shown = step / last if cycle > 2 and last > 0 else 0.0
            left = 0.9 if shown > 0.9 else shown if shown > rate else rate
            error = step * left / (1 - left)
            if error <= tol:
                return cycle, error
        last = step
    return most, error


@compiled
def _sweep_image(u: Pixels, out: Pixels, relax: Pixels, damping: np.float32, grid: Ints) -> None:
    """``out = u + damping * (sum_j w_ij u_j / d_i - u_i)`` at removed pixels, u elsewhere."""
    stride = grid[2]
    count = (grid[0] - 1) * stride + grid[1]
    up, mid, down = u[: count + 2], u[stride : stride + count + 2], u[2 * stride : 2 * stride + count + 2]
    new, inverse = out[stride + 1 : stride + 1 + count], relax[stride + 1 : stride + 1 + count]
    for i in range(count):
        near = up[i + 1] + down[i + 1] + mid[i] + mid[i + 2]
        around = up[i] + up[i + 2] + down[i] + down[i + 2] + TWO * near
        change = around * inverse[i] - mid[i + 1]
        new[i] = mid[i + 1] + (damping * change if inverse[i] > ZERO else ZERO)


@compiled
def _largest_change(new: Pixels, old: Pixels, size: int, lanes: Pixels) -> np.floating[Any]:
    """The largest ``|new - old|``, in lanes so that it is vectorised; NaN where anything is not finite."""
    largest, odd = lanes[:64], lanes[64:]
    for k in range(64):
        largest[k], odd[k] = ZERO, ZERO
    blocks = size // 64
    for block in range(blocks):
        a, b = new[64 * block : 64 * block + 64], old[64 * block : 64 * block + 64]
        for k in range(64):
            change = abs(a[k] - b[k])
            largest[k] = change if change > largest[k] else largest[k]
            odd[k] += change - change
    for i in range(64 * blocks, size):
        change = abs(new[i] - old[i])
        largest[0] = change if change > largest[0] else largest[0]
        odd[0] += change - change
    for k in range(1, 64):
        largest[0] = largest[k] if largest[k] > largest[0] else largest[0]
        odd[0] += odd[k]
    return largest[0] + odd[0]


@inlined
def _restrict_image(u: Pixels, relax: Pixels, image: Ints, scratch: Scratch, grid: Ints) -> None:
    """The image's residual, restricted to level 1's right-hand side, three rows at a time."""
    above, here, below, joined = scratch.rows[0], scratch.rows[1], scratch.rows[2], scratch.rows[3]
    target = of(scratch.b, grid)
    width, stride = grid[1], grid[2]
    clear(above)
    for y in range(grid[0]):
        _residual_row(u, relax, image, 2 * y, here)
        _residual_row(u, relax, image, 2 * y + 1, below)
        for i in range(len(joined)):
            joined[i] = HALF * (above[i] + below[i]) + here[i]
        out = target[(y + 1) * stride + 1 : (y + 1) * stride + 1 + width]
        for x in range(width):
            out[x] = HALF * (joined[2 * x] + joined[2 * x + 2]) + joined[2 * x + 1]
        above, below = below, above


@compiled
def _residual_row(u: Pixels, relax: Pixels, grid: Ints, y: int, out: Floats) -> None:
    """``sum_j w_ij (u_j - u_i)`` in twelfths at the removed pixels of row ``y``; 0 elsewhere and outside."""
    height, width, stride = grid[0], grid[1], grid[2]
    if y >= height:
        clear(out)
        return
    start = y * stride
    up, mid = u[start : start + stride], u[start + stride : start + 2 * stride]
    down, removed = u[start + 2 * stride : start + 3 * stride], relax[start + stride : start + 2 * stride]
    above, below = ONE if y > 0 else ZERO, ONE if y < height - 1 else ZERO
    inner, inside = out[2:width], removed[2:width]
    up1, mid1, down1 = up[1 : width + 1], mid[1 : width + 1], down[1 : width + 1]
    for i in range(width - 2):
        c = mid1[i + 1]
        over = (up1[i] - c) + (up1[i + 2] - c) + TWO * (up1[i + 1] - c)
        under = (down1[i] - c) + (down1[i + 2] - c) + TWO * (down1[i + 1] - c)
        total = above * over + below * under + TWO * ((mid1[i] - c) + (mid1[i + 2] - c))
        inner[i] = total if inside[i] > ZERO else ZERO
    for i in (1, width):  # the first and the last column, which miss a side
        c = mid[i]
        total = TWO * (above * (up[i] - c) + below * (down[i] - c))
        if i > 1:
            total += above * (up[i - 1] - c) + below * (down[i - 1] - c) + TWO * (mid[i - 1] - c)
        if i < width:
            total += above * (up[i + 1] - c) + below * (down[i + 1] - c) + TWO * (mid[i + 1] - c)
        out[i] = total if removed[i] > ZERO else ZERO


@inlined
def _prolong_image(coarse: Floats, grid: Ints, u: Pixels, relax: Pixels, image: Ints, row: Floats) -> None:
    """Add the bilinear interpolation of ``coarse`` to ``u`` at removed pixels."""
    height, width, stride, narrow = image[0], image[1], image[2], grid[2]
    for y in range(height):
        interpolate_rows(coarse, narrow, y, row)
        start = (y + 1) * stride + 1
        out, removed = u[start : start + width], relax[start : start + width]
        for x in range(width // 2):
            out[2 * x] += row[x + 1] if removed[2 * x] > ZERO else ZERO
            between = HALF * (row[x + 1] + row[x + 2])
            out[2 * x + 1] += between if removed[2 * x + 1] > ZERO else ZERO
        if width % 2 == 1:
            out[width - 1] += row[width // 2 + 1] if removed[width - 1] > ZERO else ZERO

"""The memory of the multigrid on the CPU.

Grids are stored flat with a ring of zeros around them: a grid of h x w points has rows of ``stride = w + 3``
values and ``h + 3`` rows (one column and row more behind than before, for the coarse vertices outside the image),
so that loops run over whole grids without any case at their borders.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xaimed_kernels.impute.levels import damping, grids

Floats = NDArray[np.float32]
Pixels = NDArray[np.float32] | NDArray[np.float64]
"""Arrays on the image's own grid, which has the image's precision."""
Ints = NDArray[np.int64]


class Canvas(NamedTuple):
    """The image's grid, of the image's precision: zeros at first, reused for all systems of the same size.

    ``relax``: see `hierarchy.relaxation`. ``u``, ``before``, ``other``: the solution and two more. ``lanes [128]``: see
    `cycle._largest_change`. ``sums [3, w]``: see `cycle._load`.
    """

    relax: Pixels
    u: Pixels
    before: Pixels
    other: Pixels
    lanes: Pixels
    sums: NDArray[np.float64]


class Scratch(NamedTuple):
    """The coarser grids: zeros at first, reused as a `Canvas` is.

    ``x``, ``b``, ``r``: solution, right-hand side and residual, at the grids' offsets; ``rows``: four rows of the
    image; ``line``: one value per point of the coarsest grid and a row and a half more.
    """

    x: Floats
    b: Floats
    r: Floats
    rows: Floats
    line: Floats


class Hierarchy(NamedTuple):
    """One mask's coarse operators; ``grids`` has a row of height, width, stride, size and offset for each level.

    ``planes``: 5 x size from 5 x offset on, ``inverse``: 1/(diagonal + positive couplings), 0 outside; both for
    level 1 on. ``band``: the factorised coarsest operator, a row per point: 1/pivot, then the next ``width + 1``
    multipliers. ``rows``, ``removed``, ``work``: 3 x 5, 2 and 15 rows of the image, needed while building.
    """

    grids: Ints
    planes: Floats
    inverse: Floats
    band: Floats
    rows: Floats
    removed: Floats
    work: Floats


def allocate(height: int, width: int, dtype: np.dtype[Any]) -> tuple[Canvas, Hierarchy, Scratch, Floats]:
    """One thread's memory, whatever the number of images, masks and channels: for each pixel 4 numbers of ``dtype``
    and 3 of float32. The last: step sizes ``[levels, 2]`` of the two smoothing sweeps."""
    shapes = grids(height, width)
    table = np.zeros((len(shapes), 5), dtype=np.int64)
    offset = 0
    for level, (h, w) in enumerate(shapes):
        table[level] = h, w, w + 3, (h + 3) * (w + 3), offset
        offset += table[level, 3] if level else 0
    pixels, zeros = partial(np.zeros, dtype=dtype), partial(np.zeros, dtype=np.float32)
    size, stride = int(table[0, 3]), width + 3
    points, reach = shapes[-1][0] * shapes[-1][1], shapes[-1][1] + 1
    canvas = Canvas(pixels(size), pixels(size), pixels(size), pixels(size), pixels(128), np.zeros((3, width)))
    hierarchy = Hierarchy(
        table, zeros(5 * offset), zeros(offset), zeros((points, reach + 1)),
        zeros(15 * stride), zeros((2, stride + 1)), zeros((15, stride + 1)),
    )  # fmt: skip
    scratch = Scratch(
        zeros(offset), zeros(offset), zeros(offset), zeros((4, stride)), zeros(points + 2 * reach)
    )
    steps = np.array([damping(level, shape) for level, shape in enumerate(shapes)], dtype=np.float32)
    return canvas, hierarchy, scratch, steps

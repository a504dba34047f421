"""Launching the imputation's kernels: a fixed list for a given shape, so that a CUDA graph can hold it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from xaimed_kernels.impute.imputation import Filled
from xaimed_kernels.impute.kernel import judge_kernel, load_kernel, store_kernel
from xaimed_kernels.impute.kernel_coarse import (
    correct_kernel,
    pass_kernel,
    restrict_kernel,
)
from xaimed_kernels.impute.kernel_image import correct_image_kernel, restrict_image_kernel, sweep_image_kernel
from xaimed_kernels.impute.kernel_operators import galerkin_kernel, inverse_kernel
from xaimed_kernels.impute.kernel_small import small_grids_kernel
from xaimed_kernels.impute.levels import MOST_CYCLES, MOST_REFINING_CYCLES, RATE, STIFFER, damping
from xaimed_kernels.impute.scratch import BLOCK, Grid, Work, allocate
from xaimed_kernels.launching import ceil_div, is_aligned, launch, power_of_two

WARPS = 8
"""Warps of a program that goes along a line: 4 points a thread, which one instruction loads."""

TILE_Y, TILE_X, TILE_WARPS = 8, 8, 2
"""Threads down and across a tile, and their warps: a thread has a vertex or two, or the quads of two rows."""

SMALL, SMALL_TILE = 64 * 64, 16
"""Points of the largest grid that one program solves with all that are coarser (from here on a launch for each step
would cost more than the step), and threads down and across that program's tiles."""

USUAL_CYCLES = 4
"""Cycles after which the host looks for planes that are not done: what the slowest masks need for 1e-4."""

_RESTRICT, _RESIDUAL, _RESTRICT_RESIDUAL, _TAKE, _ADD, _SOLVE = range(6)
"""Steps of `small_grids_kernel`."""


def impute_triton(images: Tensor, keep: Tensor, tol: float, *, watched: bool = False) -> Filled:
    """Shapes as :class:`Filled`: images ``[n, c, h, w]``, keep ``[n, p, h, w]``.

    Float32 images are solved in float32; float64 ones, whose own grid is in float64, to smaller tolerances. Waits for
    nothing, unless ``watched``: then the host reads the errors after `USUAL_CYCLES`, and goes on if any is too large.
    """
    images = images.contiguous()
    if not is_aligned(images):  # a part of a batch of odd sides: not worth kernels of its own
        images = images.clone()
    work = allocate(images, keep)
    _, p, h, w = keep.shape
    m = len(work.errors)
    launch(
        load_kernel, m, images, work.keep, *work.u, work.relax, work.means, work.spreads, work.errors, work.last,
        work.bits, work.done, work.cycles, p, work.channels, h, w, work.room4, work.grids[0].place[1],
        BLOCK=BLOCK, warps=WARPS,
    )  # fmt: skip
    _build(work)
    most = MOST_REFINING_CYCLES if images.dtype == torch.float64 else MOST_CYCLES
    for cycle in range(1, most + 1):
        _cycle(work)
        launch(
            judge_kernel, ceil_div(m, 128), work.bits, work.last, work.errors, work.cycles, work.done,
            m, cycle, tol, RATE, BLOCK=128, warps=4,
        )  # fmt: skip
        if watched and cycle == USUAL_CYCLES < most:
            filled = _store(images, work, keep.shape)
            if bool((filled.error <= tol).all()):
                return replace(filled, settled=True)
    return _store(images, work, keep.shape)


def _store(images: Tensor, work: Work, shape: torch.Size) -> Filled:
    n, p, h, w = shape
    m, tiles = len(work.errors), ceil_div(h * w, BLOCK)
    filled = torch.empty(n, p, work.channels, h, w, device=images.device, dtype=images.dtype)
    launch(
        store_kernel, m * tiles, images, work.keep, work.u[0], filled, work.means, work.spreads,
        p, work.channels, h, w, work.room4, work.grids[0].place[1], tiles, BLOCK=BLOCK, warps=WARPS,
    )  # fmt: skip
    return Filled(filled, work.cycles.view(filled.shape[:3]), work.errors.view(filled.shape[:3]))


def _tiles(rows: int, columns: int) -> int:
    return ceil_div(rows, TILE_Y) * ceil_div(columns, TILE_X)


def _build(work: Work) -> None:
    """The coarse operators of all systems, and the inverse of the coarsest."""
    systems = len(work.keep)
    for level, (fine, grid) in enumerate(zip(work.grids, work.grids[1:], strict=False)):
        tiles = _tiles(grid.height, grid.width)
        launch(
            galerkin_kernel, systems * tiles, work.relax, work.planes, work.room4, work.points4, *fine.place,
            fine.height, fine.width, *grid.place, tiles, int(level == 0),
            TILE_Y=TILE_Y, TILE_X=TILE_X, warps=TILE_WARPS,
        )  # fmt: skip
    last = work.grids[-1]
    size = power_of_two(last.height * last.width)
    launch(
        inverse_kernel, systems, work.planes, work.inverse, work.points4, *last.place, last.height, last.width, STIFFER,
        SIZE=size, warps=max(1, min(16, size * size // 512)),
    )  # fmt: skip


def _cycle(work: Work) -> None:
    """One cycle on the solution, which ends where it began, so that planes that are done can stay out of it."""
    (u, first, second), (x, _, b) = work.u, work.coarse
    image, below = work.grids[:2]
    m, stride4 = len(u), image.place[1]
    where = (work.channels, work.room4, stride4, image.height, image.width, work.points4, *below.place)
    tiles = _tiles(below.height, ceil_div(below.width, 2))
    launch(
        restrict_image_kernel, m * tiles, u, work.relax, b, work.done, *where, tiles,
        TILE_Y=TILE_Y, TILE_X=TILE_X, warps=TILE_WARPS,
    )  # fmt: skip
    _solve_coarse(work)
    steps = damping(0, image.shape)
    tiles = _tiles(ceil_div(image.height, 2), ceil_div(image.width, 4))
    launch(
        correct_image_kernel, m * tiles, u, first, work.relax, x, work.done, *where, steps[0], tiles,
        TILE_Y=TILE_Y, TILE_X=TILE_X, warps=TILE_WARPS,
    )  # fmt: skip
    tiles = image.line // BLOCK
    for sweep, (source, target) in enumerate(((first, second), (second, first), (first, u)), start=1):
        launch(
            sweep_image_kernel, m * tiles, source, target, work.relax, work.bits, work.done,
            work.channels, work.room4, stride4, steps[sweep % 2], tiles, int(sweep == 3), BLOCK=BLOCK, warps=WARPS,
        )  # fmt: skip


def _solve_coarse(work: Work) -> None:
    """Level 1 for its right-hand side, from zero: full multigrid, the order of `compiled.coarse.solve_coarse`."""
    small = small_level(work.grids)
    _descend(work, 1, small, full=True)
    for level in range(small - 1, 0, -1):
        _smooth(work, level, taken=0.0)
        _pass(work, level, smoothing=False)
        _descend(work, level, small, full=False)
        for lower in range(small - 1, level, -1):
            _smooth(work, lower, taken=0.0)
        _smooth(work, level, taken=1.0)


def small_level(laid: tuple[Grid, ...]) -> int:
    """The first level that one program solves."""
    fitting = (k for k, grid in enumerate(laid) if k and grid.height * grid.width <= SMALL)
    return min(next(fitting), len(laid) - 1)


def _descend(work: Work, level: int, small: int, *, full: bool) -> None:
    """Restrict the right-hand side of a large level, or its residual, and solve the small grids for it."""
    _, other, b = work.coarse
    for lower in range(level, small - 1):
        grid, below = work.grids[lower], work.grids[lower + 1]
        tiles = _tiles(below.height, ceil_div(below.width, 2))
        launch(
            restrict_kernel, len(b) * tiles, b if full or lower > level else other, b, work.done, work.points4,
            *grid.place, *grid.shape, *below.place, tiles, TILE_Y=TILE_Y, TILE_X=TILE_X, warps=TILE_WARPS,
        )  # fmt: skip
    _small(work, small, first=_RESTRICT if full or level < small - 1 else _RESTRICT_RESIDUAL, full=full)


def _smooth(work: Work, level: int, *, taken: float) -> None:
    """Two sweeps, the first of which adds the next coarser solution to x (0 of it, or 1); the result is in x again."""
    x, other, b = work.coarse
    grid, below = work.grids[level], work.grids[level + 1]
    tiles = _tiles(ceil_div(grid.height, 2), ceil_div(grid.width, 4))
    launch(
        correct_kernel, len(x) * tiles, x, other, b, work.planes, work.done, work.channels, work.points4,
        *grid.place, *grid.shape, *below.place, damping(level, grid.shape)[0], taken, tiles,
        TILE_Y=TILE_Y, TILE_X=TILE_X, warps=TILE_WARPS,
    )  # fmt: skip
    _pass(work, level, smoothing=True)


def _pass(work: Work, level: int, *, smoothing: bool) -> None:
    """The second sweep, back into x; or the residual of x, into the other array."""
    x, other, b = work.coarse
    grid = work.grids[level]
    tiles = grid.line // BLOCK
    source, target = (other, x) if smoothing else (x, other)
    launch(
        pass_kernel, len(x) * tiles, source, target, b, work.planes, work.done, work.channels, work.points4,
        *grid.place, damping(level, grid.shape)[1], tiles, int(smoothing), BLOCK=BLOCK, warps=WARPS,
    )  # fmt: skip


def _small(work: Work, small: int, *, first: int, full: bool) -> None:
    """The small grids, for the right-hand side of the finest of them, restricted first from a large grid if any."""
    x, other, b = work.coarse
    above = work.grids[small - 1 : small] if small > 1 else ()
    schedule = _schedule((*above, *work.grids[small:]), len(above), first, full, x.device)
    last = work.grids[-1]
    launch(
        small_grids_kernel, len(x), x, other, b, work.planes, work.inverse, work.done, schedule, len(schedule),
        work.channels, work.points4, *damping(small, work.grids[small].shape), TILE=SMALL_TILE, BLOCK=BLOCK,
        SIZE=power_of_two(last.height * last.width), warps=WARPS,
    )  # fmt: skip


@cache
def _schedule(laid: tuple[Grid, ...], top: int, first: int, full: bool, device: torch.device) -> Tensor:
    """Steps of `small_grids_kernel` on the device, int32 ``[steps, 8]``: full multigrid, or one V-cycle.

    ``top``: the index of the finest grid to solve; one before it is only restricted, by ``first``. Kept from the first
    call on, which copies them to the device: a CUDA graph is captured after a first call.
    """
    last = len(laid) - 1

    def step(what: int, level: int) -> tuple[int, ...]:
        grid, below = laid[level], laid[min(level + 1, last)]
        return (what, *grid.place, *grid.shape, *below.place, 0)

    def descend(level: int, start: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
        return [*start, *(step(_RESTRICT, k) for k in range(level, last)), step(_SOLVE, last)]

    steps = descend(top, (step(first, 0),) * top)
    for level in range(last - 1, top - 1, -1):
        steps.append(step(_TAKE, level))
        if full:
            steps += descend(level + 1, (step(_RESIDUAL, level), step(_RESTRICT_RESIDUAL, level)))
            steps += [step(_TAKE, lower) for lower in range(last - 1, level, -1)]
            steps.append(step(_ADD, level))
    return torch.tensor(steps, dtype=torch.int32).to(device)

"""Launching the imputation's kernels: a fixed list for a given shape, so that a CUDA graph can hold it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import final

import torch
from torch import Tensor

from xaimed_kernels.impute.imputation import Filled
from xaimed_kernels.impute.kernel import judge_kernel, load_kernel, store_kernel
from xaimed_kernels.impute.kernel_coarse import coarse_kernel, small_grids_kernel
from xaimed_kernels.impute.kernel_image import restrict_image_kernel, sweep_image_kernel
from xaimed_kernels.impute.kernel_operators import galerkin_kernel, inverse_kernel
from xaimed_kernels.impute.levels import MOST_CYCLES, MOST_REFINING_CYCLES, RATE, STIFFER, damping, grids
from xaimed_kernels.launching import apart, ceil_div, is_aligned, launch, power_of_two

BLOCK, WARPS = 512, 4
"""Points and warps of a program: 4 points a thread, whose 9 neighbours are read through L1."""

SMALL = 64 * 64
"""Points of the largest grid that one program solves with all that are coarser: from here on a launch for each
step would cost more than the step."""

_COMPILED = {"residual": "restrict", "start": "correct"}
"""Steps of `coarse_kernel` that are another one's, with a flag at run time."""

_RESTRICT, _RESTRICT_RESIDUAL, _TAKE, _ADD, _SOLVE = range(5)
"""Steps of `small_grids_kernel`."""


@final
@dataclass(frozen=True)
class _Work:
    """Scratch on the device. ``s`` systems, ``m`` planes, ``points`` of all coarse grids together."""

    keep: Tensor  # [s, h, w] uint8
    u: tuple[Tensor, ...]  # 3 of [m, h, w]: the solution, and two for sweeps
    coarse: tuple[Tensor, ...]  # 3 of [m, points]: solution, another, right-hand side
    planes: Tensor  # [s, 5 * points]
    inverse: Tensor  # [s, size * size]
    means: Tensor  # [m], as all that follow
    spreads: Tensor
    errors: Tensor
    last: Tensor
    bits: Tensor
    done: Tensor
    cycles: Tensor
    shapes: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]  # of each grid's points; the image's entry is not used
    channels: int

    @property
    def points(self) -> int:
        return self.coarse[0].shape[1]

    @property
    def small(self) -> int:
        """The first level that one program solves."""
        fitting = (k for k, (h, w) in enumerate(self.shapes) if k and h * w <= SMALL)
        return min(next(fitting), len(self.shapes) - 1)


def impute_triton(images: Tensor, keep: Tensor, tol: float) -> Filled:
    """Shapes as :class:`Filled`: images ``[n, c, h, w]``, keep ``[n, p, h, w]``. Waits for nothing.

    Float32 images are solved in float32; float64 ones, whose own grid is in float64, to smaller tolerances.
    """
    n, p, h, w = keep.shape
    images = images.contiguous()
    if not is_aligned(images):  # a part of a batch of odd sides: not worth kernels of its own
        images = images.clone()
    work = _allocate(images, keep)
    m, pixels = n * p * work.channels, h * w
    tiles = ceil_div(pixels, BLOCK)
    launch(
        load_kernel, m, images, work.keep, work.u[0], work.means, work.spreads, work.errors, work.last, work.bits,
        work.done, work.cycles, p, work.channels, pixels, BLOCK=1024, warps=8,
    )  # fmt: skip
    _build(work)
    most = MOST_REFINING_CYCLES if images.dtype == torch.float64 else MOST_CYCLES
    for cycle in range(1, most + 1):
        _cycle(work)
        launch(
            judge_kernel, ceil_div(m, 128), work.bits, work.last, work.errors, work.cycles, work.done,
            m, cycle, tol, RATE, BLOCK=128, warps=4,
        )  # fmt: skip
    filled = torch.empty(n, p, work.channels, h, w, device=images.device, dtype=images.dtype)
    launch(
        store_kernel, m * tiles, images, work.keep, work.u[0], filled, work.means, work.spreads,
        p, work.channels, pixels, tiles, BLOCK=BLOCK, warps=WARPS,
    )  # fmt: skip
    shape = (n, p, work.channels)
    return Filled(filled, work.cycles.view(shape), work.errors.view(shape))


def _allocate(images: Tensor, keep: Tensor) -> _Work:
    n, p, h, w = keep.shape
    c, device = images.shape[1], images.device
    shapes = grids(h, w)
    starts, points = [0], 0
    for height, width in shapes[1:]:
        starts.append(points)
        points += height * width
    size = power_of_two(shapes[-1][0] * shapes[-1][1])
    s, m = n * p, n * p * c
    means, spreads = apart(2, m, device=device, dtype=images.dtype)
    errors, last = apart(2, m, device=device)
    bits, done, cycles = apart(3, m, device=device, dtype=torch.int32)
    return _Work(
        keep=keep.reshape(s, h, w).to(torch.uint8),
        u=apart(3, m, h, w, device=device, dtype=images.dtype),
        coarse=apart(3, m, points, device=device),
        planes=torch.empty(s, 5 * points, device=device),
        inverse=torch.empty(s, size * size, device=device),
        means=means,
        spreads=spreads,
        errors=errors,
        last=last,
        bits=bits,
        done=done,
        cycles=cycles,
        shapes=shapes,
        starts=tuple(starts),
        channels=c,
    )


def _build(work: _Work) -> None:
    """The coarse operators of all systems, and the inverse of the coarsest."""
    systems, (height, width) = len(work.keep), work.shapes[0]
    for level in range(1, len(work.shapes)):
        rows, columns = work.shapes[level]
        tiles = ceil_div(rows * columns, 128)
        launch(
            galerkin_kernel, systems * tiles, work.keep, work.planes, work.points, work.starts[level - 1],
            work.starts[level], height, width, rows, columns, tiles, int(level == 1), BLOCK=128, warps=4,
        )  # fmt: skip
        height, width = rows, columns
    size = power_of_two(height * width)
    launch(
        inverse_kernel, systems, work.planes, work.inverse, work.points, work.starts[-1], height, width, STIFFER,
        SIZE=size, warps=max(1, min(16, size * size // 512)),
    )  # fmt: skip


def _cycle(work: _Work) -> None:
    """One cycle on the solution, which ends where it began, so that planes that are done can stay out of it."""
    (u, first, second), (x, _, b) = work.u, work.coarse
    (height, width), (rows, columns) = work.shapes[0], work.shapes[1]
    tiles = ceil_div(rows * columns, BLOCK)
    launch(
        restrict_image_kernel, len(u) * tiles, u, work.keep, b, work.done, work.channels, work.points,
        height, width, rows, columns, tiles, BLOCK=BLOCK, warps=WARPS,
    )  # fmt: skip
    _solve_coarse(work)
    steps = damping(0, work.shapes[0])
    tiles = ceil_div(height * width, BLOCK)
    for sweep, (source, target) in enumerate(((u, first), (first, second), (second, first), (first, u))):
        launch(
            sweep_image_kernel, len(u) * tiles, source, target, work.keep, x, work.bits, work.done,
            work.channels, work.points, height, width, steps[sweep % 2], tiles,
            int(sweep == 3), CORRECT=sweep == 0, BLOCK=BLOCK, warps=WARPS,
        )  # fmt: skip


def _solve_coarse(work: _Work) -> None:
    """Level 1 for its right-hand side, from zero: full multigrid, the order of `compiled.coarse.solve_coarse`."""
    for level in range(1, work.small):
        _coarse(work, level, "restrict")
    _small(work, full=True)
    for level in range(work.small - 1, 0, -1):
        _smooth(work, level, "start")
        _coarse(work, level, "residual")
        for lower in range(level + 1, work.small):
            _coarse(work, lower, "restrict")
        _small(work, full=False)
        for lower in range(work.small - 1, level, -1):
            _smooth(work, lower, "start")
        _smooth(work, level, "correct")


def _smooth(work: _Work, level: int, first: str) -> None:
    """Two sweeps, the first of which interpolates from the next coarser grid; the result is in x again."""
    steps = damping(level, work.shapes[level])
    _coarse(work, level, first, steps[0])
    _coarse(work, level, "sweep", steps[1], swapped=True)


def _coarse(work: _Work, level: int, step: str, by: float = 0.0, *, swapped: bool = False) -> None:
    """A launch of `coarse_kernel`: "restrict" or the "residual" first; "sweep", or "correct" first, or "start"."""
    x, other, b = work.coarse
    (height, width), (rows, columns) = work.shapes[level], work.shapes[level + 1]
    restricting = step in ("restrict", "residual")
    tiles = ceil_div(rows * columns if restricting else height * width, BLOCK)
    source, target = (other, x) if swapped else (x, other)
    launch(
        coarse_kernel, len(x) * tiles, source, target, b, work.planes, work.done, work.channels, work.points,
        work.starts[level], height, width, rows, columns, by, tiles, int(step in ("residual", "start")),
        STEP=_COMPILED.get(step, step), BLOCK=BLOCK, warps=WARPS,
    )  # fmt: skip


def _small(work: _Work, *, full: bool) -> None:
    """The small grids, for the right-hand side of the finest of them."""
    x, other, b = work.coarse
    shapes, starts = work.shapes[work.small :], work.starts[work.small :]
    schedule = _schedule(shapes, starts, full, x.device)
    size = power_of_two(shapes[-1][0] * shapes[-1][1])
    launch(
        small_grids_kernel, len(x), x, other, b, work.planes, work.inverse, work.done, schedule, len(schedule),
        work.channels, work.points, *damping(1, shapes[0]), BLOCK=BLOCK, SIZE=size, warps=8,
    )  # fmt: skip


@cache
def _schedule(
    shapes: tuple[tuple[int, int], ...], starts: tuple[int, ...], full: bool, device: torch.device
) -> Tensor:
    """Steps of `small_grids_kernel` on the device, int32 ``[steps, 6]``: full multigrid, or one V-cycle.

    Kept from the first call on, which copies them to the device: a CUDA graph is captured after a first call.
    """
    last = len(shapes) - 1

    def step(what: int, level: int) -> tuple[int, ...]:
        return (what, starts[level], *shapes[level], *shapes[min(level + 1, last)])

    def descend(level: int, first: int) -> list[tuple[int, ...]]:
        down = [step(first if k == level else _RESTRICT, k) for k in range(level, last)]
        return [*down, step(_SOLVE, last)]

    steps = descend(0, _RESTRICT)
    for level in range(last - 1, -1, -1):
        steps.append(step(_TAKE, level))
        if full:
            steps += descend(level, _RESTRICT_RESIDUAL)
            steps += [step(_TAKE, lower) for lower in range(last - 1, level, -1)]
            steps.append(step(_ADD, level))
    return torch.tensor(steps, dtype=torch.int32).to(device)

"""Triton kernels of the cycle's steps on coarse grids: one launch a step, or all steps of the small grids in one."""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_operators import coarse_coupling
from xaimed_kernels.impute.kernel_stencil import hat, interpolated, is_inside


@triton.jit
def coarse_value(p_x, p_e, row, column, height, width, m, CORRECT: tl.constexpr, FRESH: tl.constexpr):
    """x, or 0 if FRESH, corrected by the interpolation of the next coarser grid if CORRECT; 0 outside."""
    m_here = m & is_inside(row, column, height, width)
    value = tl.zeros(row.shape, tl.float32)
    if not FRESH:
        value = tl.load(p_x + row * width + column, mask=m_here, other=0.0)
    if CORRECT:
        value += interpolated(p_e, row, column, width, m_here)
    return value


@triton.jit
def coarse_residual(
    p_x, p_e, p_b, p_a, row, column, height, width, m, CORRECT: tl.constexpr, FRESH: tl.constexpr
):
    """``b - A x``, the smoothing scale 1/(diagonal + positive couplings), and x itself."""
    m_here = m & is_inside(row, column, height, width)
    x = coarse_value(p_x, p_e, row, column, height, width, m, CORRECT, FRESH)
    centre = coarse_coupling(p_a, row, column, 0, 0, height, width, m)
    r = tl.load(p_b + row * width + column, mask=m_here, other=0.0) - centre * x
    scale = centre
    for e in tl.static_range(9):
        if e != 4:
            a = coarse_coupling(p_a, row, column, e // 3 - 1, e % 3 - 1, height, width, m)
            y, x_there = row + e // 3 - 1, column + e % 3 - 1
            r -= a * coarse_value(p_x, p_e, y, x_there, height, width, m, CORRECT, FRESH)
            scale += tl.maximum(a, 0.0)
    return r, tl.where(centre > 0.0, 1.0 / tl.where(centre > 0.0, scale, 1.0), 0.0), x


@triton.jit
def sweep_points(
    p_x, p_new, p_e, p_b, p_a, at, height, width, damping, CORRECT: tl.constexpr, FRESH: tl.constexpr
):
    """A Jacobi sweep of the points ``at`` of a coarse grid."""
    m_at = at < height * width
    row, column = at // width, at % width
    r, scale, x = coarse_residual(p_x, p_e, p_b, p_a, row, column, height, width, m_at, CORRECT, FRESH)
    tl.store(p_new + at, x + damping * scale * r, mask=m_at)


@triton.jit
def restrict_points(p_x, p_b, p_a, p_out, at, height, width, rows, columns, RESIDUAL: tl.constexpr):
    """Points ``at`` of the next coarser right-hand side: ``P^T (b - A x)``, or ``P^T b``."""
    m_at = at < rows * columns
    row, column = at // columns, at % columns
    total = tl.zeros(at.shape, tl.float32)
    for i in tl.range(0, 9):
        iy, ix = i // 3 - 1, i % 3 - 1
        y, x = 2 * row + iy, 2 * column + ix
        m_here = m_at & is_inside(y, x, height, width)
        if RESIDUAL:
            r, _, _ = coarse_residual(p_x, p_x, p_b, p_a, y, x, height, width, m_here, False, False)
        else:
            r = tl.load(p_b + y * width + x, mask=m_here, other=0.0)
        total += hat(iy, ix) * r
    tl.store(p_out + at, total, mask=m_at)


@triton.jit(
    do_not_specialize=(
        "channels",
        "points",
        "start",
        "height",
        "width",
        "rows",
        "columns",
        "tiles",
        "otherwise",
    )
)
def coarse_kernel(
    x_ptr, new_ptr, b_ptr,  # [planes, points]
    planes_ptr,  # [systems, 5 * points]
    done_ptr,  # [planes]
    channels, points, start, height, width, rows, columns, damping, tiles,
    otherwise,  # 1 or 0
    STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile): one step on a large coarse grid; the next coarser one is rows x columns.

    STEP "correct": add what is interpolated from the coarser grid to x (``otherwise`` take it alone), and sweep;
    "sweep"; "restrict": b (``otherwise`` b - A x) to the coarser grid.
    """
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    base = plane * points + start
    below = base + height * width
    p_a = planes_ptr + plane // channels * 5 * points + 5 * start
    p_x, p_new, p_e, p_b, p_out = x_ptr + base, new_ptr + base, x_ptr + below, b_ptr + base, b_ptr + below
    if STEP == "restrict":
        if otherwise != 0:
            restrict_points(p_x, p_b, p_a, p_out, at, height, width, rows, columns, True)
        else:
            restrict_points(p_x, p_b, p_a, p_out, at, height, width, rows, columns, False)
    elif STEP == "sweep":
        sweep_points(p_x, p_new, p_e, p_b, p_a, at, height, width, damping, False, False)
    elif otherwise != 0:
        sweep_points(p_x, p_new, p_e, p_b, p_a, at, height, width, damping, True, True)
    else:
        sweep_points(p_x, p_new, p_e, p_b, p_a, at, height, width, damping, True, False)


@triton.jit
def sweep_grid(
    p_x, p_new, p_e, p_b, p_a, height, width, damping,
    CORRECT: tl.constexpr, FRESH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    for first in tl.range(0, height * width, BLOCK):
        at = first + tl.arange(0, BLOCK)
        sweep_points(p_x, p_new, p_e, p_b, p_a, at, height, width, damping, CORRECT, FRESH)
    tl.debug_barrier()


@triton.jit
def restrict_grid(
    p_x, p_b, p_a, p_out, height, width, rows, columns, RESIDUAL: tl.constexpr, BLOCK: tl.constexpr
):
    for first in tl.range(0, rows * columns, BLOCK):
        at = first + tl.arange(0, BLOCK)
        restrict_points(p_x, p_b, p_a, p_out, at, height, width, rows, columns, RESIDUAL)
    tl.debug_barrier()


@triton.jit
def ascend_grid(p_x, p_new, p_b, p_a, height, width, first, second, FRESH: tl.constexpr, BLOCK: tl.constexpr):
    """Interpolate from the next coarser grid, add that to x (or take it alone, if FRESH), smooth twice."""
    p_e = p_x + height * width
    sweep_grid(p_x, p_new, p_e, p_b, p_a, height, width, first, True, FRESH, BLOCK)
    sweep_grid(p_new, p_x, p_e, p_b, p_a, height, width, second, False, False, BLOCK)


@triton.jit(do_not_specialize=("steps", "channels", "points"))
def small_grids_kernel(
    x_ptr, new_ptr, b_ptr,  # [planes, points]
    planes_ptr,  # [systems, 5 * points]
    inverse_ptr,  # [systems, size * size]
    done_ptr,  # [planes]
    schedule_ptr,  # [steps, 6]: what, start, height, width, rows and columns of the next coarser grid
    steps, channels, points, first, second,
    BLOCK: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Program (plane): run a schedule of steps on the small grids.

    What: 0 restricts b, 1 restricts b - A x, 2 takes the coarser solution and smooths it, 3 adds it and smooths, 4
    solves the coarsest grid. A schedule in memory instead of unrolled code: the code is there once, not 20 times.
    """
    plane = tl.program_id(0).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    system = plane // channels
    p_inverse = inverse_ptr + system * SIZE * SIZE
    for step in tl.range(0, steps):
        what = tl.load(schedule_ptr + 6 * step)
        start = tl.load(schedule_ptr + 6 * step + 1)
        height, width = tl.load(schedule_ptr + 6 * step + 2), tl.load(schedule_ptr + 6 * step + 3)
        rows, columns = tl.load(schedule_ptr + 6 * step + 4), tl.load(schedule_ptr + 6 * step + 5)
        base = plane * points + start
        p_x, p_new, p_b = x_ptr + base, new_ptr + base, b_ptr + base
        p_a = planes_ptr + 5 * (system * points + start)
        p_out = p_b + height * width
        if what == 0:
            restrict_grid(p_x, p_b, p_a, p_out, height, width, rows, columns, False, BLOCK)
        elif what == 1:
            restrict_grid(p_x, p_b, p_a, p_out, height, width, rows, columns, True, BLOCK)
        elif what == 2:
            ascend_grid(p_x, p_new, p_b, p_a, height, width, first, second, True, BLOCK)
        elif what == 3:
            ascend_grid(p_x, p_new, p_b, p_a, height, width, first, second, False, BLOCK)
        else:
            i, j = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
            b = tl.load(p_b + j, mask=j < height * width, other=0.0)
            solved = tl.sum(tl.load(p_inverse + i * SIZE + j) * b, axis=1)
            place = tl.arange(0, SIZE)
            tl.store(p_x + place, solved, mask=place < height * width)
            tl.debug_barrier()

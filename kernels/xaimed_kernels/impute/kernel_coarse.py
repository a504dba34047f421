"""Triton kernels of the cycle's steps on coarse grids: one launch a step, or all steps of the small grids in one.

What has no equation, outside and where no pixel near is removed, is 0 in all arrays and stays 0.
"""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_stencil import interpolated, three, tile_of


@triton.jit
def coarse_residual(p_b, p_a, points, stride, above, here, below, K: tl.constexpr):
    """``b - A x`` at the points of column K; storage of A: see `kernel_operators`."""
    p_east, p_southwest, p_south, p_southeast = p_a + points, p_a + 2 * points, p_a + 3 * points, p_a + 4 * points
    r = tl.load(p_b) - tl.load(p_a) * here[K]
    r -= tl.load(p_east - 1) * here[K - 1] + tl.load(p_east) * here[K + 1]
    r -= tl.load(p_southeast - stride - 1) * above[K - 1] + tl.load(p_southeast) * below[K + 1]
    r -= tl.load(p_south - stride) * above[K] + tl.load(p_south) * below[K]
    return r - (tl.load(p_southwest - stride + 1) * above[K + 1] + tl.load(p_southwest) * below[K - 1])


@triton.jit
def pass_points(p_x, p_new, p_b, p_a, points, stride, damping, smoothing):
    """A Jacobi sweep of points, or only their residual."""
    here = three(p_x)
    r = coarse_residual(p_b, p_a, points, stride, three(p_x - stride), here, three(p_x + stride), 1)
    if smoothing != 0:
        r = here[1] + damping * tl.load(p_a + 5 * points) * r
    tl.store(p_new, r)


@triton.jit
def joined(p_x, taken, by):
    """The columns -1, 0, 1, 2 from points of x, or of 0, corrected."""
    return (
        taken * tl.load(p_x - 1) + by[0],
        taken * tl.load(p_x) + by[1],
        taken * tl.load(p_x + 1) + by[2],
        taken * tl.load(p_x + 2) + by[3],
    )


@triton.jit
def smoothed(p_new, p_b, p_a, points, stride, damping, above, here, below, K: tl.constexpr):
    scale = tl.load(p_a + 5 * points)
    r = coarse_residual(p_b, p_a, points, stride, above, here, below, K)
    tl.store(p_new, tl.where(scale > 0.0, here[K] + damping * scale * r, 0.0))


@triton.jit
def correct_tile(
    tile, p_x, p_new, p_e, p_b, p_a, points, stride, narrow, height, width, damping, taken,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """A Jacobi sweep of a tile of 2 x 2 points, of x (or of 0) and the interpolation of the next coarser grid."""
    y, x = tile_of(tile, (height + 1) // 2, (width + 1) // 2, TILE_Y, TILE_X)
    at = 2 * y * stride + 2 * x
    p_x, p_new, p_b, p_a = p_x + at, p_new + at, p_b + at, p_a + at
    to_a, to_b, to_c, to_d = interpolated(p_e + y * narrow + x, narrow)
    a, b = joined(p_x - stride, taken, to_a), joined(p_x, taken, to_b)
    c, d = joined(p_x + stride, taken, to_c), joined(p_x + 2 * stride, taken, to_d)
    smoothed(p_new, p_b, p_a, points, stride, damping, a, b, c, 1)
    smoothed(p_new + 1, p_b + 1, p_a + 1, points, stride, damping, a, b, c, 2)
    p_new, p_b, p_a = p_new + stride, p_b + stride, p_a + stride
    smoothed(p_new, p_b, p_a, points, stride, damping, b, c, d, 1)
    smoothed(p_new + 1, p_b + 1, p_a + 1, points, stride, damping, b, c, d, 2)


@triton.jit
def restrict_tile(
    tile, p_fine, p_coarse, stride, narrow, height, width, TILE_Y: tl.constexpr, TILE_X: tl.constexpr
):
    """A tile of the next coarser right-hand side: ``P^T`` of a right-hand side or a residual."""
    y, x = tile_of(tile, height // 2 + 1, width // 2 + 1, TILE_Y, TILE_X)
    p_fine += 2 * y * stride + 2 * x
    upper, here, lower = three(p_fine - stride), three(p_fine), three(p_fine + stride)
    rows = mixed_sum(upper, here, lower)
    tl.store(p_coarse + y * narrow + x, rows[1] + 0.5 * (rows[0] + rows[2]))


@triton.jit
def mixed_sum(upper, here, lower):
    return (
        here[0] + 0.5 * (upper[0] + lower[0]),
        here[1] + 0.5 * (upper[1] + lower[1]),
        here[2] + 0.5 * (upper[2] + lower[2]),
    )


@triton.jit(
    do_not_specialize=("channels", "points4", "start4", "stride4", "tiles", "smoothing")
)  # fmt: skip
def pass_kernel(
    x_ptr, new_ptr, b_ptr,  # [planes, points]
    planes_ptr,  # [systems, 6, points]
    done_ptr,  # [planes]
    channels, points4, start4, stride4, damping, tiles,  # what ends in 4 is a quarter
    smoothing,  # 1 or 0
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, part of a large grid's line): a Jacobi sweep, or the residual."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    points = 4 * points4
    at = 4 * start4 + tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    base = plane * points + at
    p_a = planes_ptr + plane // channels * 6 * points + at
    pass_points(x_ptr + base, new_ptr + base, b_ptr + base, p_a, points, 4 * stride4, damping, smoothing)


@triton.jit(
    do_not_specialize=(
        "channels", "points4", "start4", "stride4", "height", "width", "below4", "narrow4", "tiles",
    )
)  # fmt: skip
def correct_kernel(
    x_ptr, new_ptr, b_ptr,  # [planes, points]
    planes_ptr,  # [systems, 6, points]
    done_ptr,  # [planes]
    channels, points4, start4, stride4, height, width, below4, narrow4, damping,
    taken,  # 1.0 or 0.0
    tiles,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile of 2 x 2 points of a large grid): add the next coarser solution to x (or to 0), and sweep."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    points = 4 * points4
    base = plane * points + 4 * start4
    correct_tile(
        tl.program_id(0) % tiles, x_ptr + base, new_ptr + base, x_ptr + plane * points + 4 * below4, b_ptr + base,
        planes_ptr + plane // channels * 6 * points + 4 * start4, points, 4 * stride4, 4 * narrow4, height, width,
        damping, taken, TILE_Y, TILE_X,
    )  # fmt: skip


@triton.jit(
    do_not_specialize=("points4", "start4", "stride4", "height", "width", "below4", "narrow4", "tiles")
)
def restrict_kernel(
    fine_ptr, b_ptr,  # [planes, points]
    done_ptr,  # [planes]
    points4, start4, stride4, height, width, below4, narrow4, tiles,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile): a large grid's right-hand side or residual to the next coarser one, large too."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    p_fine, p_coarse = fine_ptr + plane * points4 * 4 + 4 * start4, b_ptr + plane * points4 * 4 + 4 * below4
    restrict_tile(
        tl.program_id(0) % tiles, p_fine, p_coarse, 4 * stride4, 4 * narrow4, height, width, TILE_Y, TILE_X
    )


@triton.jit
def pass_grid(p_x, p_new, p_b, p_a, points, stride, height, damping, smoothing, BLOCK: tl.constexpr):
    for first in tl.range(0, height * stride, BLOCK):
        at = first + tl.arange(0, BLOCK)
        pass_points(p_x + at, p_new + at, p_b + at, p_a + at, points, stride, damping, smoothing)
    tl.debug_barrier()


@triton.jit(do_not_specialize=("steps", "channels", "points4"))
def small_grids_kernel(
    x_ptr, new_ptr, b_ptr,  # [planes, points]
    planes_ptr,  # [systems, 6, points]
    inverse_ptr,  # [systems, size * size]
    done_ptr,  # [planes]
    schedule_ptr,  # [steps, 8]: what, start4, stride4, height, width; start4 and stride4 of the next coarser grid
    steps, channels, points4, first, second,
    TILE: tl.constexpr, BLOCK: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Program (plane): run a schedule of steps on the small grids.

    What: 0 restricts b, 1 computes b - A x, 2 restricts that, 3 takes the coarser solution and smooths it, 4 adds it
    and smooths, 5 solves the coarsest grid. A schedule in memory instead of unrolled code: the code is there once.
    """
    plane = tl.program_id(0).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    system, points = plane // channels, 4 * points4
    for step in tl.range(0, steps):
        p_step = schedule_ptr + 8 * step
        what, start, stride = tl.load(p_step), 4 * tl.load(p_step + 1), 4 * tl.load(p_step + 2)
        height, width = tl.load(p_step + 3), tl.load(p_step + 4)
        below, narrow = 4 * tl.load(p_step + 5), 4 * tl.load(p_step + 6)
        base = plane * points + start
        p_x, p_new, p_b = x_ptr + base, new_ptr + base, b_ptr + base
        p_a = planes_ptr + system * 6 * points + start
        if what == 5:
            solve(p_x, p_b, inverse_ptr + system * SIZE * SIZE, stride, height, width, SIZE)
        elif what == 1:
            pass_grid(p_x, p_new, p_b, p_a, points, stride, height, 0.0, 0, BLOCK)
        elif what >= 3:
            taken = (what - 3).to(tl.float32)
            for tile in tl.range(0, tl.cdiv((height + 1) // 2, TILE) * tl.cdiv((width + 1) // 2, TILE)):
                correct_tile(
                    tile, p_x, p_new, x_ptr + plane * points + below, p_b, p_a, points, stride, narrow, height, width,
                    first, taken, TILE, TILE,
                )  # fmt: skip
            tl.debug_barrier()
            pass_grid(p_new, p_x, p_b, p_a, points, stride, height, second, 1, BLOCK)
        else:
            p_fine = p_b
            if what == 2:
                p_fine = p_new
            for tile in tl.range(0, tl.cdiv(height // 2 + 1, TILE) * tl.cdiv(width // 2 + 1, TILE)):
                restrict_tile(
                    tile, p_fine, b_ptr + plane * points + below, stride, narrow, height, width, TILE, TILE
                )
            tl.debug_barrier()


@triton.jit
def solve(p_x, p_b, p_inverse, stride, height, width, SIZE: tl.constexpr):
    """The coarsest grid by its inverse."""
    j = tl.arange(0, SIZE)
    m_j = j < height * width
    place = j // width * stride + j % width
    b = tl.load(p_b + place, mask=m_j, other=0.0)
    solved = tl.sum(tl.load(p_inverse + j[:, None] * SIZE + j[None, :]) * b[None, :], axis=1)
    tl.store(p_x + place, solved, mask=m_j)
    tl.debug_barrier()

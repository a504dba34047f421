"""The Triton kernel that does all steps of the cycle on the small grids, one program for each plane."""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_coarse import correct_tile, pass_points, restrict_tile


@triton.jit
def pass_grid(p_x, p_new, p_b, p_a, points, stride, height, damping, smoothing, BLOCK: tl.constexpr):
    for first in tl.range(0, height * stride, BLOCK):
        at = first + 4 * tl.arange(0, BLOCK // 4)
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
            solve(p_x, p_b, inverse_ptr + system * SIZE * SIZE, stride, width, SIZE)
        elif what == 1:
            pass_grid(p_x, p_new, p_b, p_a, points, stride, height, 0.0, 0, BLOCK)
        elif what >= 3:
            taken = (what - 3).to(tl.float32)
            for tile in tl.range(0, tl.cdiv(tl.cdiv(height, 2), TILE) * tl.cdiv(tl.cdiv(width, 4), TILE)):
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
            for tile in tl.range(
                0, tl.cdiv(height // 2 + 1, TILE) * tl.cdiv(tl.cdiv(width // 2 + 1, 2), TILE)
            ):
                restrict_tile(
                    tile, p_fine, b_ptr + plane * points + below, stride, narrow, height, width, TILE, TILE
                )
            tl.debug_barrier()


@triton.jit
def solve(p_x, p_b, p_inverse, stride, width, SIZE: tl.constexpr):
    """The coarsest grid by its inverse, which is the identity for what is outside: zeros there stay zeros."""
    j = tl.arange(0, SIZE)
    place = j // width * stride + j % width
    b = tl.load(p_b + place)
    tl.store(p_x + place, tl.sum(tl.load(p_inverse + j[:, None] * SIZE + j[None, :]) * b[None, :], axis=1))
    tl.debug_barrier()

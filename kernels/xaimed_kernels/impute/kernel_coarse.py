"""Triton kernels of the cycle's steps on coarse grids, one launch a step where a grid is large.

What has no equation, outside and where no pixel near is removed, is 0 in all arrays and stays 0.
"""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_stencil import interpolated, quad, six, store_pair, store_quad, tile_of


@triton.jit
def couplings(p_a, points, stride):
    """Of a quad: the diagonal, couplings to the east (5 from column -1 on), southwest, south and southeast, and to the
    northwest, north and northeast, which are stored elsewhere. Storage: see `kernel_operators`."""
    p_east, p_southwest, p_south, p_southeast = (
        p_a + points,
        p_a + 2 * points,
        p_a + 3 * points,
        p_a + 4 * points,
    )
    east, northwest, northeast = quad(p_east), quad(p_southeast - stride), quad(p_southwest - stride)
    return (
        quad(p_a),
        (tl.load(p_east - 1), east[0], east[1], east[2], east[3]),
        quad(p_southwest),
        quad(p_south),
        quad(p_southeast),
        (tl.load(p_southeast - stride - 1), northwest[0], northwest[1], northwest[2]),
        quad(p_south - stride),
        (northeast[1], northeast[2], northeast[3], tl.load(p_southwest - stride + 4)),
    )


@triton.jit
def point_residual(b, a, above, here, below, K: tl.constexpr):
    """``b - A x`` at the points of column K."""
    r = b[K] - a[0][K] * here[K + 1]
    r -= a[1][K] * here[K] + a[1][K + 1] * here[K + 2]
    r -= a[2][K] * below[K] + a[7][K] * above[K + 2]
    r -= a[3][K] * below[K + 1] + a[6][K] * above[K + 1]
    return r - (a[4][K] * below[K + 2] + a[5][K] * above[K])


@triton.jit
def coarse_residual(p_b, p_a, points, stride, above, here, below):
    b, a = quad(p_b), couplings(p_a, points, stride)
    return (
        point_residual(b, a, above, here, below, 0),
        point_residual(b, a, above, here, below, 1),
        point_residual(b, a, above, here, below, 2),
        point_residual(b, a, above, here, below, 3),
    )


@triton.jit
def pass_points(p_x, p_new, p_b, p_a, points, stride, damping, smoothing):
    """A Jacobi sweep of quads, or only their residual."""
    here, scale, sweeping = six(p_x), quad(p_a + 5 * points), smoothing != 0
    r = coarse_residual(p_b, p_a, points, stride, six(p_x - stride), here, six(p_x + stride))
    values = (
        tl.where(sweeping, here[1] + damping * scale[0] * r[0], r[0]),
        tl.where(sweeping, here[2] + damping * scale[1] * r[1], r[1]),
        tl.where(sweeping, here[3] + damping * scale[2] * r[2], r[2]),
        tl.where(sweeping, here[4] + damping * scale[3] * r[3], r[3]),
    )
    store_quad(p_new, values)


@triton.jit
def joined(p_x, taken, by):
    """Columns -1 to 4 of x, or of 0, corrected."""
    x = six(p_x)
    return (
        taken * x[0] + by[0],
        taken * x[1] + by[1],
        taken * x[2] + by[2],
        taken * x[3] + by[3],
        taken * x[4] + by[4],
        taken * x[5] + by[5],
    )


@triton.jit
def moved(here, scale, r, damping):
    return tl.where(scale > 0.0, here + damping * scale * r, 0.0)


@triton.jit
def smoothed(p_b, p_a, points, stride, damping, above, here, below):
    """A Jacobi sweep of quads; 0 where there is no equation."""
    r, scale = coarse_residual(p_b, p_a, points, stride, above, here, below), quad(p_a + 5 * points)
    return (
        moved(here[1], scale[0], r[0], damping),
        moved(here[2], scale[1], r[1], damping),
        moved(here[3], scale[2], r[2], damping),
        moved(here[4], scale[3], r[3], damping),
    )


@triton.jit
def correct_tile(
    tile, p_x, p_new, p_e, p_b, p_a, points, stride, narrow, height, width, damping, taken,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """A Jacobi sweep of a tile of two rows' quads, of x (or of 0) and the interpolation of the next coarser grid."""
    y, x = tile_of(tile, tl.cdiv(height, 2), tl.cdiv(width, 4), TILE_Y, TILE_X)
    at = 2 * y * stride + 4 * x
    p_x, p_new, p_b, p_a = p_x + at, p_new + at, p_b + at, p_a + at
    to_a, to_b, to_c, to_d = interpolated(p_e + y * narrow + 2 * x, narrow)
    a, b = joined(p_x - stride, taken, to_a), joined(p_x, taken, to_b)
    c, d = joined(p_x + stride, taken, to_c), joined(p_x + 2 * stride, taken, to_d)
    upper = smoothed(p_b, p_a, points, stride, damping, a, b, c)
    lower = smoothed(p_b + stride, p_a + stride, points, stride, damping, b, c, d)
    store_quad(p_new, upper)
    store_quad(p_new + stride, lower)


@triton.jit
def five_of_rows(p, stride):
    """Columns -1 to 3 of a row and half the rows beside it."""
    upper, here, lower = quad(p - stride), quad(p), quad(p + stride)
    before = tl.load(p - 1) + 0.5 * (tl.load(p - stride - 1) + tl.load(p + stride - 1))
    return (
        before,
        here[0] + 0.5 * (upper[0] + lower[0]),
        here[1] + 0.5 * (upper[1] + lower[1]),
        here[2] + 0.5 * (upper[2] + lower[2]),
        here[3] + 0.5 * (upper[3] + lower[3]),
    )


@triton.jit
def restrict_tile(
    tile, p_fine, p_coarse, stride, narrow, height, width, TILE_Y: tl.constexpr, TILE_X: tl.constexpr
):
    """A tile of pairs of the next coarser right-hand side: ``P^T`` of a right-hand side or a residual.

    A pair may end behind its row: there, and up to three columns on, are zeros, and become zeros.
    """
    y, x = tile_of(tile, height // 2 + 1, tl.cdiv(width // 2 + 1, 2), TILE_Y, TILE_X)
    c = five_of_rows(p_fine + (2 * y * stride + 4 * x), stride)
    first, second = c[1] + 0.5 * (c[0] + c[2]), c[3] + 0.5 * (c[2] + c[4])
    store_pair(p_coarse + (y * narrow + 2 * x), first, second)


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
    at = 4 * start4 + tl.program_id(0) % tiles * BLOCK + 4 * tl.arange(0, BLOCK // 4)
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
    """Program (plane, tile of two rows' quads of a large grid): x (or 0), plus the next coarser solution, swept."""
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
    """Program (plane, tile of pairs): a large grid's right-hand side or residual to the next coarser one, large too."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    p_fine, p_coarse = fine_ptr + plane * points4 * 4 + 4 * start4, b_ptr + plane * points4 * 4 + 4 * below4
    restrict_tile(
        tl.program_id(0) % tiles, p_fine, p_coarse, 4 * stride4, 4 * narrow4, height, width, TILE_Y, TILE_X
    )

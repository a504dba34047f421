"""Triton kernels of the cycle's steps on the image's own grid, matrix-free.

``relax`` holds 1 / the sum of a removed pixel's weights, 0 at kept pixels and outside.
"""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_stencil import (
    interpolated,
    pair,
    quad,
    six,
    store_pair,
    store_quad,
    tile_of,
)


@triton.jit
def first_pixel(stride):
    """Where a plane's pixels begin: behind three rows of zeros."""
    return 3 * stride + 4


@triton.jit
def seven(p):
    """Columns -2 to 4."""
    before, q = pair(p - 2), quad(p)
    return before[0], before[1], q[0], q[1], q[2], q[3], tl.load(p + 4)


@triton.jit
def pixel_residual(above, here, below, removed, over, under, left, right, K: tl.constexpr):
    """``sum_j w_ij (u_j - u_i)`` in twelfths at the removed pixels of column K - 2, from differences: exact where the
    image is flat. ``over``, ``under``, ``left``, ``right``: 1 where there is a neighbour on that side, else 0."""
    c = here[K]
    up = 2.0 * (above[K] - c) + (left * (above[K - 1] - c) + right * (above[K + 1] - c))
    down = 2.0 * (below[K] - c) + (left * (below[K - 1] - c) + right * (below[K + 1] - c))
    beside = left * (here[K - 1] - c) + right * (here[K + 1] - c)
    return tl.where(removed > 0.0, over * up + under * down + 2.0 * beside, 0.0)


@triton.jit
def residual_row(above, here, below, p_relax, over, under, left, rights):
    """A fine row's residuals, columns -1 to 3, restricted to the vertices in columns 0 and 2."""
    before, removed = tl.load(p_relax - 1), quad(p_relax)
    a = pixel_residual(above, here, below, before, over, under, 1.0, rights[0], 1)
    b = pixel_residual(above, here, below, removed[0], over, under, left, rights[1], 2)
    c = pixel_residual(above, here, below, removed[1], over, under, 1.0, rights[2], 3)
    d = pixel_residual(above, here, below, removed[2], over, under, 1.0, rights[3], 4)
    e = pixel_residual(above, here, below, removed[3], over, under, 1.0, rights[4], 5)
    return b + 0.5 * (a + c), d + 0.5 * (c + e)


@triton.jit(
    do_not_specialize=(
        "channels",
        "room4",
        "stride4",
        "height",
        "width",
        "points4",
        "start4",
        "narrow4",
        "tiles",
    )
)
def restrict_image_kernel(
    u_ptr,  # [planes, room]
    relax_ptr,  # [systems, room]
    b_ptr,  # [planes, points]
    done_ptr,  # [planes]
    channels, room4, stride4, height, width,
    points4, start4, narrow4,  # of level 1; what ends in 4 is a quarter
    tiles,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile of pairs of vertices): the image's residual, restricted to level 1."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    stride = 4 * stride4
    dtype: tl.constexpr = u_ptr.dtype.element_ty
    y, x = tile_of(tl.program_id(0) % tiles, height // 2 + 1, tl.cdiv(width // 2 + 1, 2), TILE_Y, TILE_X)
    pixel = first_pixel(stride) + 2 * y * stride + 4 * x
    p_u = u_ptr + plane * room4 * 4 + pixel
    p_relax = relax_ptr + plane // channels * room4 * 4 + pixel
    a, b, c = seven(p_u - 2 * stride), seven(p_u - stride), seven(p_u)
    d, e = seven(p_u + stride), seven(p_u + 2 * stride)
    left, over, behind = (x > 0).to(dtype), (y > 0).to(dtype), width - 4 * x
    rights = (
        (behind > 0).to(dtype),
        (behind > 1).to(dtype),
        (behind > 2).to(dtype),
        (behind > 3).to(dtype),
        (behind > 4).to(dtype),
    )
    upper = residual_row(a, b, c, p_relax - stride, 1.0, (2 * y < height).to(dtype), left, rights)
    here = residual_row(b, c, d, p_relax, over, (2 * y + 1 < height).to(dtype), left, rights)
    lower = residual_row(c, d, e, p_relax + stride, 1.0, (2 * y + 2 < height).to(dtype), left, rights)
    first, second = here[0] + 0.5 * (upper[0] + lower[0]), here[1] + 0.5 * (upper[1] + lower[1])
    p_b = b_ptr + plane * points4 * 4 + 4 * start4 + y * 4 * narrow4 + 2 * x
    store_pair(p_b, first, second)


@triton.jit
def relaxed(above, here, below, scale, damping, K: tl.constexpr):
    """A Jacobi step of the pixels in column K - 1; kept ones stay."""
    corners = (above[K - 1] + below[K - 1]) + (above[K + 1] + below[K + 1])
    around = corners + 2.0 * ((above[K] + below[K]) + (here[K - 1] + here[K + 1]))
    return here[K] + tl.where(scale > 0.0, damping * (around * scale - here[K]), 0.0)


@triton.jit
def relaxed_quad(above, here, below, scale, damping):
    return (
        relaxed(above, here, below, scale[0], damping, 1),
        relaxed(above, here, below, scale[1], damping, 2),
        relaxed(above, here, below, scale[2], damping, 3),
        relaxed(above, here, below, scale[3], damping, 4),
    )


@triton.jit
def added(value, removed, by):
    return value + tl.where(removed > 0.0, by, 0.0)


@triton.jit
def corrected(p_u, p_relax, by):
    """Columns -1 to 4 of u, corrected where pixels are removed."""
    u, removed = six(p_u), six(p_relax)
    return (
        added(u[0], removed[0], by[0]),
        added(u[1], removed[1], by[1]),
        added(u[2], removed[2], by[2]),
        added(u[3], removed[3], by[3]),
        added(u[4], removed[4], by[4]),
        added(u[5], removed[5], by[5]),
    )


@triton.jit(
    do_not_specialize=(
        "channels",
        "room4",
        "stride4",
        "height",
        "width",
        "points4",
        "start4",
        "narrow4",
        "tiles",
    )
)
def correct_image_kernel(
    u_ptr, new_ptr,  # [planes, room]
    relax_ptr,  # [systems, room]
    e_ptr,  # [planes, points]
    done_ptr,  # [planes]
    channels, room4, stride4, height, width, points4, start4, narrow4, damping, tiles,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile of two rows' quads): the first sweep of a cycle, of u and the interpolation of level 1."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    stride, narrow = 4 * stride4, 4 * narrow4
    y, x = tile_of(tl.program_id(0) % tiles, tl.cdiv(height, 2), tl.cdiv(width, 4), TILE_Y, TILE_X)
    pixel = first_pixel(stride) + 2 * y * stride + 4 * x
    p_u = u_ptr + plane * room4 * 4 + pixel
    p_new = new_ptr + plane * room4 * 4 + pixel
    p_relax = relax_ptr + plane // channels * room4 * 4 + pixel
    to_a, to_b, to_c, to_d = interpolated(
        e_ptr + plane * points4 * 4 + 4 * start4 + y * narrow + 2 * x, narrow
    )
    a = corrected(p_u - stride, p_relax - stride, to_a)
    b = corrected(p_u, p_relax, to_b)
    c = corrected(p_u + stride, p_relax + stride, to_c)
    d = corrected(p_u + 2 * stride, p_relax + 2 * stride, to_d)
    upper = relaxed_quad(a, b, c, quad(p_relax), damping)
    lower = relaxed_quad(b, c, d, quad(p_relax + stride), damping)
    store_quad(p_new, upper)
    store_quad(p_new + stride, lower)


@triton.jit
def largest_change(values, p):
    old = quad(p)
    upper = tl.maximum(changed(values[0], old[0]), changed(values[1], old[1]))
    return tl.max(
        tl.maximum(upper, tl.maximum(changed(values[2], old[2]), changed(values[3], old[3]))), axis=0
    )


@triton.jit
def changed(new, old):
    """The bits of a change's size, in whose order a NaN is the largest."""
    return tl.abs(new - old).to(tl.float32).to(tl.int32, bitcast=True)


@triton.jit(do_not_specialize=("channels", "room4", "stride4", "tiles", "measure"))
def sweep_image_kernel(
    u_ptr, new_ptr,  # [planes, room]; where the step is measured, new holds the solution before the cycle
    relax_ptr,  # [systems, room]
    bits_ptr, done_ptr,  # [planes]
    channels, room4, stride4, damping, tiles,
    measure,  # 1 or 0
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, part of its line): a Jacobi sweep; the last of a cycle measures the step. Zeros stay zeros."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    stride = 4 * stride4
    at = first_pixel(stride) + tl.program_id(0) % tiles * BLOCK + 4 * tl.arange(0, BLOCK // 4)
    p_u = u_ptr + plane * room4 * 4 + at
    p_new = new_ptr + plane * room4 * 4 + at
    scale = quad(relax_ptr + plane // channels * room4 * 4 + at)
    values = relaxed_quad(six(p_u - stride), six(p_u), six(p_u + stride), scale, damping)
    if measure != 0:
        tl.atomic_max(bits_ptr + plane, largest_change(values, p_new))
    store_quad(p_new, values)

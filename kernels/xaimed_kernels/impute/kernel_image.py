"""Triton kernels of the cycle's steps on the image's own grid, matrix-free.

``relax`` holds 1 / the sum of a removed pixel's weights, 0 at kept pixels and outside.
"""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_stencil import interpolated, three, tile_of


@triton.jit
def first_pixel(stride):
    """Where a plane's pixels begin: three rows of zeros before, and three behind."""
    return 3 * stride + 4


@triton.jit
def five(p):
    """The values of five columns around points."""
    return tl.load(p - 2), tl.load(p - 1), tl.load(p), tl.load(p + 1), tl.load(p + 2)


@triton.jit
def pixel_residual(above, here, below, p_relax, over, under, left, right, K: tl.constexpr):
    """``sum_j w_ij (u_j - u_i)`` in twelfths at the removed pixels of column K, from differences: exact where the
    image is flat. The last four: 1 where there is a neighbour on that side, else 0."""
    c = here[K]
    up = 2.0 * (above[K] - c) + (left * (above[K - 1] - c) + right * (above[K + 1] - c))
    down = 2.0 * (below[K] - c) + (left * (below[K - 1] - c) + right * (below[K + 1] - c))
    beside = left * (here[K - 1] - c) + right * (here[K + 1] - c)
    total = over * up + under * down + 2.0 * beside
    return tl.where(tl.load(p_relax + (K - 2)) > 0.0, total, 0.0)


@triton.jit
def residual_row(above, here, below, p_relax, over, under, left, rights):
    """A fine row's residuals, restricted to vertices that stand in its middle column."""
    before = pixel_residual(above, here, below, p_relax, over, under, 1.0, rights[0], 1)
    at = pixel_residual(above, here, below, p_relax, over, under, left, rights[1], 2)
    behind = pixel_residual(above, here, below, p_relax, over, under, 1.0, rights[2], 3)
    return at + 0.5 * (before + behind)


@triton.jit(
    do_not_specialize=("channels", "room4", "stride4", "height", "width", "points4", "start4", "narrow4", "tiles")
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
    """Program (plane, tile): the image's residual, restricted to level 1."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    stride = 4 * stride4
    dtype: tl.constexpr = u_ptr.dtype.element_ty
    y, x = tile_of(tl.program_id(0) % tiles, height // 2 + 1, width // 2 + 1, TILE_Y, TILE_X)
    pixel = first_pixel(stride) + 2 * y * stride + 2 * x
    p_u = u_ptr + plane * room4 * 4 + pixel
    p_relax = relax_ptr + plane // channels * room4 * 4 + pixel
    left, over = (x > 0).to(dtype), (y > 0).to(dtype)
    rights = (2 * x < width).to(dtype), (2 * x + 1 < width).to(dtype), (2 * x + 2 < width).to(dtype)
    a, b, c = five(p_u - 2 * stride), five(p_u - stride), five(p_u)
    d, e = five(p_u + stride), five(p_u + 2 * stride)
    upper = residual_row(a, b, c, p_relax - stride, 1.0, (2 * y < height).to(dtype), left, rights)
    here = residual_row(b, c, d, p_relax, over, (2 * y + 1 < height).to(dtype), left, rights)
    lower = residual_row(c, d, e, p_relax + stride, 1.0, (2 * y + 2 < height).to(dtype), left, rights)
    vertex = 4 * start4 + 4 * narrow4 * y + x
    tl.store(b_ptr + plane * points4 * 4 + vertex, here + 0.5 * (upper + lower))


@triton.jit
def relaxed(above, here, below, scale, damping, K: tl.constexpr):
    """A Jacobi step of the pixels in column K; kept ones stay."""
    corners = (above[K - 1] + above[K + 1]) + (below[K - 1] + below[K + 1])
    around = corners + 2.0 * ((above[K] + below[K]) + (here[K - 1] + here[K + 1]))
    return here[K] + tl.where(scale > 0.0, damping * (around * scale - here[K]), 0.0)


@triton.jit
def corrected(p_u, p_relax, by):
    """The columns -1, 0, 1, 2 from pixels, corrected where they are removed."""
    return (
        tl.load(p_u - 1) + tl.where(tl.load(p_relax - 1) > 0.0, by[0], 0.0),
        tl.load(p_u) + tl.where(tl.load(p_relax) > 0.0, by[1], 0.0),
        tl.load(p_u + 1) + tl.where(tl.load(p_relax + 1) > 0.0, by[2], 0.0),
        tl.load(p_u + 2) + tl.where(tl.load(p_relax + 2) > 0.0, by[3], 0.0),
    )


@triton.jit(
    do_not_specialize=("channels", "room4", "stride4", "height", "width", "points4", "start4", "narrow4", "tiles")
)
def correct_image_kernel(
    u_ptr, new_ptr,  # [planes, room]
    relax_ptr,  # [systems, room]
    e_ptr,  # [planes, points]
    done_ptr,  # [planes]
    channels, room4, stride4, height, width, points4, start4, narrow4, damping, tiles,
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile of 2 x 2 pixels): the first sweep of a cycle, of u and the interpolation of level 1."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    stride, narrow = 4 * stride4, 4 * narrow4
    y, x = tile_of(tl.program_id(0) % tiles, (height + 1) // 2, (width + 1) // 2, TILE_Y, TILE_X)
    pixel = first_pixel(stride) + 2 * y * stride + 2 * x
    p_u = u_ptr + plane * room4 * 4 + pixel
    p_new = new_ptr + plane * room4 * 4 + pixel
    p_relax = relax_ptr + plane // channels * room4 * 4 + pixel
    to_a, to_b, to_c, to_d = interpolated(e_ptr + plane * points4 * 4 + 4 * start4 + y * narrow + x, narrow)
    a = corrected(p_u - stride, p_relax - stride, to_a)
    b = corrected(p_u, p_relax, to_b)
    c = corrected(p_u + stride, p_relax + stride, to_c)
    d = corrected(p_u + 2 * stride, p_relax + 2 * stride, to_d)
    tl.store(p_new, relaxed(a, b, c, tl.load(p_relax), damping, 1))
    tl.store(p_new + 1, relaxed(a, b, c, tl.load(p_relax + 1), damping, 2))
    tl.store(p_new + stride, relaxed(b, c, d, tl.load(p_relax + stride), damping, 1))
    tl.store(p_new + stride + 1, relaxed(b, c, d, tl.load(p_relax + stride + 1), damping, 2))


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
    at = first_pixel(stride) + tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    p_u = u_ptr + plane * room4 * 4 + at
    scale = tl.load(relax_ptr + plane // channels * room4 * 4 + at)
    value = relaxed(three(p_u - stride), three(p_u), three(p_u + stride), scale, damping, 1)
    p_new = new_ptr + plane * room4 * 4 + at
    if measure != 0:
        change = tl.abs(value - tl.load(p_new)).to(tl.float32)
        tl.atomic_max(bits_ptr + plane, tl.max(change.to(tl.int32, bitcast=True), axis=0))
    tl.store(p_new, value)

"""Triton kernels of the cycle's steps on the image's own grid, matrix-free."""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_stencil import diagonal, hat, interpolated, is_inside, weight_of


@triton.jit
def image_residual(p_u, p_keep, row, column, height, width, m):
    """``sum_j w_ij (u_j - u_i)`` in twelfths at removed pixels, from differences: exact where the image is flat."""
    m_here = m & is_inside(row, column, height, width)
    at = row * width + column
    m_removed = m_here & (tl.load(p_keep + at, mask=m_here, other=1) == 0)
    here = tl.load(p_u + at, mask=m_removed, other=0.0)
    total = tl.zeros_like(here)
    for e in tl.static_range(9):
        if e != 4:
            m_there = m_removed & is_inside(row + e // 3 - 1, column + e % 3 - 1, height, width)
            there = tl.load(p_u + at + (e // 3 - 1) * width + e % 3 - 1, mask=m_there, other=0.0)
            total += tl.where(m_there, weight_of(e // 3 - 1, e % 3 - 1) * (there - here), 0.0)
    return total


@triton.jit(do_not_specialize=("channels", "points", "rows", "columns", "tiles"))
def restrict_image_kernel(
    u_ptr,  # [planes, h, w]
    keep_ptr,  # [systems, h, w]
    b_ptr,  # [planes, points]
    done_ptr,  # [planes]
    channels, points, height, width, rows, columns, tiles,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile): the image's residual, restricted to level 1."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    m_at = at < rows * columns
    row, column = at // columns, at % columns
    p_u = u_ptr + plane * height * width
    p_keep = keep_ptr + plane // channels * height * width
    total = tl.zeros([BLOCK], u_ptr.dtype.element_ty)
    for i in tl.range(0, 9):  # not unrolled: 81 neighbours at once would not fit the registers
        iy, ix = i // 3 - 1, i % 3 - 1
        total += hat(iy, ix) * image_residual(p_u, p_keep, 2 * row + iy, 2 * column + ix, height, width, m_at)
    tl.store(b_ptr + plane * points + at, total, mask=m_at)


@triton.jit
def image_value(p_u, p_keep, p_e, row, column, height, width, m, CORRECT: tl.constexpr):
    """u, or u corrected by the interpolation of level 1 where pixels are removed; 0 outside."""
    m_here = m & is_inside(row, column, height, width)
    at = row * width + column
    value = tl.load(p_u + at, mask=m_here, other=0.0)
    if CORRECT:
        m_removed = m_here & (tl.load(p_keep + at, mask=m_here, other=1) == 0)
        value += interpolated(p_e, row, column, width, m_removed)
    return value


@triton.jit(do_not_specialize=("channels", "points", "tiles", "measure"))
def sweep_image_kernel(
    u_ptr, new_ptr,  # [planes, h, w]; where the step is measured, new holds the solution before the cycle
    keep_ptr,  # [systems, h, w]
    e_ptr,  # [planes, points]
    bits_ptr, done_ptr,  # [planes]
    channels, points, height, width, damping, tiles,
    measure,  # 1 or 0
    CORRECT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile): a Jacobi sweep; the first of a cycle corrects on the way, the last measures the step."""
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    m_at = at < height * width
    row, column = at // width, at % width
    p_u = u_ptr + plane * height * width
    p_keep = keep_ptr + plane // channels * height * width
    p_e = e_ptr + plane * points
    here = image_value(p_u, p_keep, p_e, row, column, height, width, m_at, CORRECT)
    around = tl.zeros_like(here)
    for e in tl.static_range(9):
        if e != 4:
            y, x = row + e // 3 - 1, column + e % 3 - 1
            there = image_value(p_u, p_keep, p_e, y, x, height, width, m_at, CORRECT)
            around += weight_of(e // 3 - 1, e % 3 - 1) * there
    removed = tl.load(p_keep + at, mask=m_at, other=1) == 0
    scale = 1.0 / tl.maximum(diagonal(row, column, height, width), 1).to(here.dtype)
    value = here + tl.where(removed, damping * (around * scale - here), 0.0)
    p_new = new_ptr + plane * height * width + at
    if measure != 0:
        before = tl.load(p_new, mask=m_at, other=0.0)
        change = tl.where(m_at, tl.abs(value - before), 0.0).to(tl.float32)
        tl.atomic_max(bits_ptr + plane, tl.max(change.to(tl.int32, bitcast=True), axis=0))
    tl.store(p_new, value, mask=m_at)

"""Triton kernels that build the coarse operators from a mask, and the inverse of the coarsest.

Storage: see `compiled.storage`, 5 planes a system.
"""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_stencil import diagonal, is_inside, weight_of


@triton.jit
def image_coupling(p_keep, row, column, dy: tl.constexpr, dx: tl.constexpr, height, width, m):
    """The image's operator between removed pixels: its diagonal, or minus a weight; 0 at kept pixels."""
    m_here = m & is_inside(row, column, height, width)
    here = tl.load(p_keep + row * width + column, mask=m_here, other=1) == 0
    if dy == 0 and dx == 0:
        a = tl.where(here, diagonal(row, column, height, width).to(tl.float32), 0.0)
    else:
        m_there = m & is_inside(row + dy, column + dx, height, width)
        there = tl.load(p_keep + (row + dy) * width + column + dx, mask=m_there, other=1) == 0
        a = tl.where(here & there, -weight_of(dy, dx), 0.0)
    return a


@triton.jit
def coarse_coupling(p_a, row, column, dy: tl.constexpr, dx: tl.constexpr, height, width, m):
    """A coarse operator between a point and its neighbour; each pair is stored once, at the first in reading order."""
    size = height * width
    m_both = m & is_inside(row, column, height, width) & is_inside(row + dy, column + dx, height, width)
    at = row * width + column
    if dy == 0 and dx == 0:
        p_pair = p_a + at
    elif dy == 0:
        p_pair = p_a + size + at + (0 if dx > 0 else -1)
    elif dy > 0:
        p_pair = p_a + (3 + dx) * size + at
    else:
        p_pair = p_a + (3 - dx) * size + at - width + dx
    return tl.load(p_pair, mask=m_both, other=0.0)


@triton.jit
def galerkin_term(
    p_keep, p_fine, row, column, height, width, m,
    FROM_IMAGE: tl.constexpr, PLANE: tl.constexpr, POINT: tl.constexpr, NEIGHBOUR: tl.constexpr,
):  # fmt: skip
    """What a fine POINT of a coarse vertex and its NEIGHBOUR add to the coupling that PLANE holds."""
    to_y: tl.constexpr = 0 if PLANE < 2 else 1
    to_x: tl.constexpr = 0 if PLANE == 0 else (1 if PLANE == 1 else PLANE - 3)
    iy: tl.constexpr = POINT // 3 - 1
    ix: tl.constexpr = POINT % 3 - 1
    dy: tl.constexpr = NEIGHBOUR // 3 - 1
    dx: tl.constexpr = NEIGHBOUR % 3 - 1
    off_y: tl.constexpr = iy + dy - 2 * to_y
    off_x: tl.constexpr = ix + dx - 2 * to_x
    part: tl.constexpr = 0.5 ** (iy * iy + ix * ix + off_y * off_y + off_x * off_x)
    y, x = 2 * row + iy, 2 * column + ix
    if off_y * off_y > 1 or off_x * off_x > 1:
        term = tl.zeros(row.shape, tl.float32)
    elif FROM_IMAGE:
        term = part * image_coupling(p_keep, y, x, dy, dx, height, width, m)
    else:
        term = part * coarse_coupling(p_fine, y, x, dy, dx, height, width, m)
    return term


@triton.jit
def galerkin_points(
    p_keep, p_fine, p_out, at, height, width, rows, columns, FROM_IMAGE: tl.constexpr, BLOCK: tl.constexpr
):
    """Points ``at`` of the 5 planes of a coarse operator."""
    m_at = at < rows * columns
    row, column = at // columns, at % columns
    for plane in tl.static_range(5):
        total = tl.zeros([BLOCK], tl.float32)
        for pair in tl.static_range(81):
            total += galerkin_term(
                p_keep, p_fine, row, column, height, width, m_at, FROM_IMAGE, plane, pair // 9, pair % 9
            )
        tl.store(p_out + plane * rows * columns + at, total, mask=m_at)


@triton.jit(
    do_not_specialize=(
        "points", "fine_start", "coarse_start", "height", "width", "rows", "columns", "tiles", "from_image",
    )
)  # fmt: skip
def galerkin_kernel(
    keep_ptr,  # [systems, h, w]
    planes_ptr,  # [systems, 5 * points]
    points, fine_start, coarse_start, height, width, rows, columns, tiles,
    from_image,  # 1 or 0
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (system, tile): ``P^T A P`` for bilinear P, from the mask or from the next finer grid's operator."""
    system = (tl.program_id(0) // tiles).to(tl.int64)
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    p_fine = planes_ptr + system * 5 * points + 5 * fine_start
    p_out = planes_ptr + system * 5 * points + 5 * coarse_start
    p_keep = keep_ptr + system * height * width
    if from_image != 0:
        galerkin_points(p_keep, p_fine, p_out, at, height, width, rows, columns, True, BLOCK)
    else:
        galerkin_points(p_keep, p_fine, p_out, at, height, width, rows, columns, False, BLOCK)


@triton.jit(do_not_specialize=("points", "start", "rows", "columns"))
def inverse_kernel(
    planes_ptr,  # [systems, 5 * points]
    inverse_ptr,  # [systems, size * size]
    points, start, rows, columns, stiffer,
    SIZE: tl.constexpr,
):  # fmt: skip
    """Program (system): the inverse of the coarsest operator by Gauss and Jordan; no pivoting, it is definite."""
    system = tl.program_id(0).to(tl.int64)
    p_a = planes_ptr + system * 5 * points + 5 * start
    i, j = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    first, second = tl.minimum(i, j), tl.maximum(i, j)
    dy, dx = second // columns - first // columns, second % columns - first % columns
    m_pair = (second < rows * columns) & (dy <= 1) & (dx >= -1) & (dx <= 1)
    plane = tl.where(dy == 0, dx, 3 + dx)
    a = tl.load(p_a + plane * rows * columns + first, mask=m_pair, other=0.0)
    a = tl.where(i == j, tl.where(a > 0.0, a * stiffer, 1.0), a)
    for k in tl.range(0, rows * columns):
        pivot_row = tl.sum(tl.where(i == k, a, 0.0), axis=0, keep_dims=True)
        pivot_column = tl.sum(tl.where(j == k, a, 0.0), axis=1, keep_dims=True)
        inverted = 1.0 / tl.sum(tl.where(j == k, pivot_row, 0.0), axis=1, keep_dims=True)
        rest = a - pivot_column * (pivot_row * inverted)
        a = tl.where(i == k, pivot_row * inverted, tl.where(j == k, -pivot_column * inverted, rest))
        a = tl.where((i == k) & (j == k), inverted + tl.zeros([SIZE, SIZE], tl.float32), a)
    tl.store(inverse_ptr + system * SIZE * SIZE + i * SIZE + j, a)

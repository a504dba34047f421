"""Triton kernels that build the coarse operators from a mask, and the inverse of the coarsest.

Six planes a system, stored as its grids are: the diagonal, the couplings to the east, southwest, south and southeast
(each pair once, at the first in reading order), and the smoothing scale, 1/(diagonal + positive couplings).
"""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_stencil import diagonal, tile_of, weight_of


@triton.jit
def image_coupling(p_relax, row, column, height, width, stride, dy: tl.constexpr, dx: tl.constexpr):
    """The image's operator between removed pixels: its diagonal, or minus a weight; 0 at kept pixels."""
    here = tl.load(p_relax) > 0.0
    if dy == 0 and dx == 0:
        a = tl.where(here, diagonal(row, column, height, width).to(tl.float32), 0.0)
    else:
        there = tl.load(p_relax + (dy * stride + dx)) > 0.0
        a = tl.where(here & there, -weight_of(dy, dx), 0.0)
    return a


@triton.jit
def coarse_coupling(p_a, points, stride, dy: tl.constexpr, dx: tl.constexpr):
    """A coarse operator between points and their neighbours."""
    if dy > 0 or (dy == 0 and dx >= 0):
        p_pair = p_a + (dx if dy == 0 else 3 + dx) * points
    else:
        p_pair = p_a + (dy * stride + dx) + (-dx if dy == 0 else 3 - dx) * points
    return tl.load(p_pair)


@triton.jit
def galerkin_term(
    p_fine, row, column, height, width, points, stride,
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
    p_point = p_fine + (iy * stride + ix)
    if off_y * off_y > 1 or off_x * off_x > 1:
        term = tl.zeros(row.shape, tl.float32)
    elif FROM_IMAGE:
        y, x = 2 * row + iy, 2 * column + ix
        term = part * image_coupling(p_point, y, x, height, width, stride, dy, dx)
    else:
        term = part * coarse_coupling(p_point, points, stride, dy, dx)
    return term


@triton.jit
def galerkin_sum(
    p_fine, row, column, height, width, points, stride, FROM_IMAGE: tl.constexpr, PLANE: tl.constexpr
):
    total = tl.zeros(row.shape, tl.float32)
    for pair in tl.static_range(81):
        total += galerkin_term(
            p_fine, row, column, height, width, points, stride, FROM_IMAGE, PLANE, pair // 9, pair % 9
        )
    return total


@triton.jit
def galerkin_tile(
    p_fine, p_out, row, column, height, width, fine_points, points, stride, FROM_IMAGE: tl.constexpr
):
    """A tile of the 5 planes of a coarse operator."""
    totals = (
        galerkin_sum(p_fine, row, column, height, width, fine_points, stride, FROM_IMAGE, 0),
        galerkin_sum(p_fine, row, column, height, width, fine_points, stride, FROM_IMAGE, 1),
        galerkin_sum(p_fine, row, column, height, width, fine_points, stride, FROM_IMAGE, 2),
        galerkin_sum(p_fine, row, column, height, width, fine_points, stride, FROM_IMAGE, 3),
        galerkin_sum(p_fine, row, column, height, width, fine_points, stride, FROM_IMAGE, 4),
    )
    for plane in tl.static_range(5):  # all loads before the first store: those of one place are one
        tl.store(p_out + plane * points, totals[plane])


@triton.jit
def scale_points(p_a, points, stride):
    """The smoothing scale of points of a coarse operator, 0 where it has no equation."""
    centre = tl.load(p_a)
    total = centre
    for e in tl.static_range(9):
        if e != 4:
            total += tl.maximum(coarse_coupling(p_a, points, stride, e // 3 - 1, e % 3 - 1), 0.0)
    scale = tl.where(centre > 0.0, 1.0 / tl.where(centre > 0.0, total, 1.0), 0.0)
    tl.store(p_a + 5 * points, scale)


@triton.jit(
    do_not_specialize=(
        "room4", "points4", "fine_start4", "stride4", "height", "width", "start4", "narrow4", "tiles", "from_image",
    )
)  # fmt: skip
def galerkin_kernel(
    relax_ptr,  # [systems, room]
    planes_ptr,  # [systems, 6, points]
    room4, points4, fine_start4, stride4, height, width, start4, narrow4, tiles,
    from_image,  # 1 or 0
    TILE_Y: tl.constexpr, TILE_X: tl.constexpr,
):  # fmt: skip
    """Program (system, tile): ``P^T A P`` for bilinear P, from the mask or from the next finer grid's operator.

    That operator gets its smoothing scale here: the coarsest, which has no coarser one, needs none.
    """
    system = (tl.program_id(0) // tiles).to(tl.int64)
    row, column = tile_of(tl.program_id(0) % tiles, height // 2 + 1, width // 2 + 1, TILE_Y, TILE_X)
    points, stride = 4 * points4, 4 * stride4
    p_planes = planes_ptr + system * 6 * points
    p_out = p_planes + 4 * start4 + row * 4 * narrow4 + column
    at = 4 * fine_start4 + 2 * row * stride + 2 * column
    if from_image != 0:
        p_relax = relax_ptr + system * room4 * 4 + at
        galerkin_tile(p_relax, p_out, row, column, height, width, 0, points, stride, True)
    else:
        p_fine = p_planes + at
        galerkin_tile(p_fine, p_out, row, column, height, width, points, points, stride, False)
        for point in tl.static_range(4):
            scale_points(p_fine + (point // 2 * stride + point % 2), points, stride)


@triton.jit(do_not_specialize=("points4", "start4", "stride4", "rows", "columns"))
def inverse_kernel(
    planes_ptr,  # [systems, 6, points]
    inverse_ptr,  # [systems, size * size]
    points4, start4, stride4, rows, columns, stiffer,
    SIZE: tl.constexpr,
):  # fmt: skip
    """Program (system): the inverse of the coarsest operator by Gauss and Jordan; no pivoting, it is definite."""
    system = tl.program_id(0).to(tl.int64)
    points = 4 * points4
    p_a = planes_ptr + system * 6 * points + 4 * start4
    i, j = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    place_i, place_j = i // columns * 4 * stride4 + i % columns, j // columns * 4 * stride4 + j % columns
    forward = tl.where(i <= j, 1, -1)  # a coupling is stored at the first of its two points
    dy, dx = forward * (j // columns - i // columns), forward * (j % columns - i % columns)
    m_pair = (tl.maximum(i, j) < rows * columns) & (dy <= 1) & (dx >= -1) & (dx <= 1)
    plane = tl.where(dy == 0, dx, 3 + dx)
    place = tl.where(i <= j, place_i, place_j)
    a = tl.load(p_a + plane * points + place, mask=m_pair, other=0.0)
    a = tl.where(i == j, tl.where(a > 0.0, a * stiffer, 1.0), a)
    for k in tl.range(0, rows * columns):
        pivot_row = tl.sum(tl.where(i == k, a, 0.0), axis=0, keep_dims=True)
        pivot_column = tl.sum(tl.where(j == k, a, 0.0), axis=1, keep_dims=True)
        inverted = 1.0 / tl.sum(tl.where(j == k, pivot_row, 0.0), axis=1, keep_dims=True)
        pivot_row = tl.where(j == k, 1.0, pivot_row) * inverted
        pivot_column = tl.where(i == k, -1.0, pivot_column)
        a = tl.where((i == k) | (j == k), 0.0, a) - pivot_column * pivot_row
    tl.store(inverse_ptr + system * SIZE * SIZE + i * SIZE + j, a)

"""Triton kernels of the imputation: the multigrid cycle of `cpu_cycle`, matrix-free on the image.

A *system* is a mask of an image, a *plane* one channel of a system. Grids are stored without a border: what lies
outside is masked. The image's own grid has the image's precision, float32 or float64, coarser grids float32. Planes
that have converged (`done`) return at once, so that a fixed list of launches serves all, without the host ever
waiting. Coarse operators: see `cpu_hierarchy`, 5 planes a system.
"""

import triton
import triton.language as tl


@triton.jit
def weight_of(dy: tl.constexpr, dx: tl.constexpr):
    """A neighbour's weight in twelfths."""
    return 2.0 if dy * dx == 0 else 1.0


@triton.jit
def hat(dy, dx):
    """The bilinear weight of the fine point (dy, dx) away from a coarse vertex."""
    return (1.0 - 0.5 * (dy * dy)) * (1.0 - 0.5 * (dx * dx))


@triton.jit
def diagonal(row, column, height, width):
    """The sum of the weights of a pixel's neighbours inside the image."""
    rows = 2 + (row > 0).to(tl.int32) + (row < height - 1).to(tl.int32)
    columns = 2 + (column > 0).to(tl.int32) + (column < width - 1).to(tl.int32)
    return rows * columns - 4


@triton.jit
def is_inside(row, column, height, width):
    return (row >= 0) & (row < height) & (column >= 0) & (column < width)


@triton.jit
def interpolated(p_e, row, column, width, m):
    """The bilinear interpolation of the next coarser grid (whose rows hold width // 2 + 1, or 1 or 2) at points."""
    narrow = tl.where(width > 2, width // 2 + 1, width)
    above, below, left, right = row // 2, (row + 1) // 2, column // 2, (column + 1) // 2
    total = tl.load(p_e + above * narrow + left, mask=m, other=0.0)
    total += tl.load(p_e + above * narrow + right, mask=m, other=0.0)
    total += tl.load(p_e + below * narrow + left, mask=m, other=0.0)
    total += tl.load(p_e + below * narrow + right, mask=m, other=0.0)
    return 0.25 * total


@triton.jit
def load_kernel(
    images_ptr,  # [n, c, h, w]
    keep_ptr,  # [n, p, h, w], 1 or 0
    u_ptr,  # [n, p, c, h, w]
    means_ptr, spreads_ptr, errors_ptr, last_ptr, bits_ptr, done_ptr, cycles_ptr,  # [n, p, c]
    masks, channels, pixels,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane): kept pixels as (value - mean) / range, the rest 0; planes without a system are done."""
    plane = tl.program_id(0)
    system = plane // channels
    p_image = images_ptr + (system // masks * channels + plane % channels).to(tl.int64) * pixels
    p_keep = keep_ptr + system.to(tl.int64) * pixels
    p_u = u_ptr + plane.to(tl.int64) * pixels
    dtype: tl.constexpr = u_ptr.dtype.element_ty
    total = tl.zeros([BLOCK], dtype)
    count = tl.zeros([BLOCK], tl.int32)
    low = tl.full([BLOCK], float("inf"), dtype)
    high = tl.full([BLOCK], float("-inf"), dtype)
    for start in tl.range(0, pixels, BLOCK):
        at = start + tl.arange(0, BLOCK)
        kept = tl.load(p_keep + at, mask=at < pixels, other=0) != 0
        value = tl.load(p_image + at, mask=kept, other=0.0)
        total += value
        count += kept.to(tl.int32)
        low = tl.minimum(low, tl.where(kept, value, float("inf")))
        high = tl.maximum(high, tl.where(kept, value, float("-inf")))
    kept_pixels = tl.sum(count, axis=0)
    mean = tl.sum(total, axis=0) / tl.maximum(kept_pixels, 1)
    spread = (
        tl.max(high, axis=0) - tl.min(low, axis=0) + (mean - mean)
    )  # NaN where a kept pixel is not finite
    spread = tl.where(kept_pixels == 0, 0.0, spread)
    scale = tl.where(spread > 0.0, 1.0 / tl.where(spread > 0.0, spread, 1.0), 0.0)
    for start in tl.range(0, pixels, BLOCK):
        at = start + tl.arange(0, BLOCK)
        kept = tl.load(p_keep + at, mask=at < pixels, other=0) != 0
        value = tl.load(p_image + at, mask=kept, other=0.0)
        tl.store(p_u + at, tl.where(kept, (value - mean) * scale, 0.0), mask=at < pixels)
    idle = (spread == 0.0) | (spread != spread) | (kept_pixels == pixels)
    tl.store(means_ptr + plane, mean)
    tl.store(spreads_ptr + plane, spread)
    tl.store(errors_ptr + plane, tl.where(spread != spread, spread, tl.where(idle, 0.0, float("inf"))))
    tl.store(last_ptr + plane, 0.0)
    tl.store(bits_ptr + plane, 0)
    tl.store(cycles_ptr + plane, 0)
    tl.store(done_ptr + plane, idle.to(tl.int32))


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
def galerkin_kernel(
    keep_ptr,  # [systems, h, w]
    planes_ptr,  # [systems, 5 * points]
    points, fine_start, coarse_start, height, width, rows, columns, tiles,
    FROM_IMAGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (system, tile): ``P^T A P`` for bilinear P, from the mask or from the next finer grid's operator."""
    system = (tl.program_id(0) // tiles).to(tl.int64)
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    m_at = at < rows * columns
    row, column = at // columns, at % columns
    p_fine = planes_ptr + system * 5 * points + 5 * fine_start
    p_out = planes_ptr + system * 5 * points + 5 * coarse_start
    p_keep = keep_ptr + system * height * width
    for plane in tl.static_range(5):
        total = tl.zeros([BLOCK], tl.float32)
        for pair in tl.static_range(81):
            total += galerkin_term(
                p_keep, p_fine, row, column, height, width, m_at, FROM_IMAGE, plane, pair // 9, pair % 9
            )
        tl.store(p_out + plane * rows * columns + at, total, mask=m_at)


@triton.jit
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


@triton.jit
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


@triton.jit
def sweep_image_kernel(
    u_ptr, new_ptr,  # [planes, h, w]; where the step is measured, new holds the solution before the cycle
    keep_ptr,  # [systems, h, w]
    e_ptr,  # [planes, points]
    bits_ptr, done_ptr,  # [planes]
    channels, points, height, width, damping, tiles,
    CORRECT: tl.constexpr, MEASURE: tl.constexpr, BLOCK: tl.constexpr,
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
    if MEASURE:
        before = tl.load(p_new, mask=m_at, other=0.0)
        change = tl.where(m_at, tl.abs(value - before), 0.0).to(tl.float32)
        tl.atomic_max(bits_ptr + plane, tl.max(change.to(tl.int32, bitcast=True), axis=0))
    tl.store(p_new, value, mask=m_at)


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


@triton.jit
def coarse_kernel(
    x_ptr, new_ptr, b_ptr,  # [planes, points]
    planes_ptr,  # [systems, 5 * points]
    done_ptr,  # [planes]
    channels, points, start, height, width, rows, columns, damping, tiles,
    STEP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile): one step on a large coarse grid; the next coarser one is rows x columns.

    STEP "start": sweep what is interpolated from the coarser grid; "correct": add that to x, and sweep; "sweep";
    "restrict": b to the coarser grid; "residual": b - A x to the coarser grid.
    """
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    if tl.load(done_ptr + plane) != 0:
        return
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    base = plane * points + start
    below = base + height * width
    p_a = planes_ptr + plane // channels * 5 * points + 5 * start
    if STEP == "restrict" or STEP == "residual":
        restrict_points(
            x_ptr + base,
            b_ptr + base,
            p_a,
            b_ptr + below,
            at,
            height,
            width,
            rows,
            columns,
            STEP == "residual",
        )
    else:
        sweep_points(
            x_ptr + base, new_ptr + base, x_ptr + below, b_ptr + base, p_a, at, height, width, damping,
            STEP != "sweep", STEP == "start",
        )  # fmt: skip


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


@triton.jit
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


@triton.jit
def judge_kernel(
    bits_ptr, last_ptr, errors_ptr, cycles_ptr, done_ptr,  # [planes]
    planes, cycle, tol, rate,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (block of planes): the error left after this cycle, estimated from its step; see `cpu_cycle._solve`."""
    plane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_plane = plane < planes
    busy = m_plane & (tl.load(done_ptr + plane, mask=m_plane, other=1) == 0)
    step = tl.load(bits_ptr + plane, mask=busy, other=0).to(tl.float32, bitcast=True)
    last = tl.load(last_ptr + plane, mask=busy, other=0.0)
    shown = tl.where((cycle > 2) & (last > 0.0), step / tl.where(last > 0.0, last, 1.0), 0.0)
    left = tl.maximum(rate, tl.minimum(shown, 0.9))
    stray = (step != step) | (step == float("inf"))
    error = tl.where(stray | (cycle < 2), float("inf"), step * left / (1.0 - left))
    tl.store(errors_ptr + plane, error, mask=busy)
    tl.store(cycles_ptr + plane, tl.zeros([BLOCK], tl.int32) + cycle, mask=busy)
    tl.store(last_ptr + plane, step, mask=busy)
    tl.store(bits_ptr + plane, tl.zeros([BLOCK], tl.int32), mask=busy)
    tl.store(done_ptr + plane, ((error <= tol) | stray).to(tl.int32), mask=busy)


@triton.jit
def store_kernel(
    images_ptr,  # [n, c, h, w]
    keep_ptr,  # [systems, h, w]
    u_ptr, out_ptr,  # [planes, h, w]
    means_ptr, spreads_ptr,  # [planes]
    masks, channels, pixels, tiles,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile): kept pixels as they are, removed ones back in the image's units."""
    plane = tl.program_id(0) // tiles
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    m_at = at < pixels
    system = plane // channels
    p_image = images_ptr + (system // masks * channels + plane % channels).to(tl.int64) * pixels
    kept = tl.load(keep_ptr + system.to(tl.int64) * pixels + at, mask=m_at, other=1) != 0
    value = tl.load(p_image + at, mask=m_at & kept, other=0.0)
    filled = tl.load(u_ptr + plane.to(tl.int64) * pixels + at, mask=m_at & (kept == 0), other=0.0)
    filled = tl.load(means_ptr + plane) + tl.load(spreads_ptr + plane) * filled
    tl.store(out_ptr + plane.to(tl.int64) * pixels + at, tl.where(kept, value, filled), mask=m_at)

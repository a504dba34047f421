"""What the image's grid and the coarse grids share: values around points, interpolation, a program's tile.

All grids are stored flat, in rows of ``stride`` values (a multiple of 4), with zeros around them: at least one behind
each row, which is also before the next, and three rows above and below. So no load asks whether a neighbour is inside,
and a step that treats all points alike runs over the rows as over one line. A thread takes 4 points in a row, a quad:
one instruction loads it. ``p`` are places of first points; tuples hold a thread's columns.
"""

import triton
import triton.language as tl


@triton.jit
def tile_of(index, rows, columns, TILE_Y: tl.constexpr, TILE_X: tl.constexpr):
    """Row and column of each thread of a tile; what lies beyond the grid is its last row or column again."""
    across = tl.cdiv(columns, TILE_X)
    thread = tl.arange(0, TILE_Y * TILE_X)
    row = index // across * TILE_Y + thread // TILE_X
    column = index % across * TILE_X + thread % TILE_X
    return tl.minimum(row, rows - 1), tl.minimum(column, columns - 1)


@triton.jit
def pair(p):
    """Columns 0 and 1."""
    return tl.split(tl.load(p[:, None] + tl.arange(0, 2)[None, :]))


@triton.jit
def quad(p):
    """Columns 0 to 3."""
    values = tl.load(p[:, None] + tl.arange(0, 4)[None, :])
    even, odd = tl.split(values.reshape([p.shape[0], 2, 2]))
    first, third = tl.split(even)
    second, fourth = tl.split(odd)
    return first, second, third, fourth


@triton.jit
def six(p):
    """Columns -1 to 4: a quad and what stands beside it."""
    q = quad(p)
    return tl.load(p - 1), q[0], q[1], q[2], q[3], tl.load(p + 4)


@triton.jit
def store_pair(p, first, second):
    tl.store(p[:, None] + tl.arange(0, 2)[None, :], tl.join(first, second))


@triton.jit
def store_quad(p, values):
    joined = tl.join(tl.join(values[0], values[2]), tl.join(values[1], values[3]))
    tl.store(p[:, None] + tl.arange(0, 4)[None, :], joined.reshape([p.shape[0], 4]))


@triton.jit
def vertices(p):
    """Columns -1 to 2 of a coarse grid: what a quad and its neighbours lie between."""
    q = pair(p)
    return tl.load(p - 1), q[0], q[1], tl.load(p + 2)


@triton.jit
def halfway(upper, lower):
    """Between two rows of vertices."""
    return (
        0.5 * (upper[0] + lower[0]),
        0.5 * (upper[1] + lower[1]),
        0.5 * (upper[2] + lower[2]),
        0.5 * (upper[3] + lower[3]),
    )


@triton.jit
def spread(row):
    """Columns -1 to 4 of a fine row from its vertices."""
    between = 0.5 * (row[0] + row[1]), 0.5 * (row[1] + row[2]), 0.5 * (row[2] + row[3])
    return between[0], row[1], between[1], row[2], between[2], row[3]


@triton.jit
def interpolated(p, narrow):
    """The bilinear interpolation of a coarse grid: fine rows -1 to 2 from a vertex's row on, columns -1 to 4."""
    upper, here, lower = vertices(p - narrow), vertices(p), vertices(p + narrow)
    return spread(halfway(upper, here)), spread(here), spread(halfway(here, lower)), spread(lower)


@triton.jit
def weight_of(dy: tl.constexpr, dx: tl.constexpr):
    """A neighbour's weight in twelfths."""
    return 2.0 if dy * dx == 0 else 1.0


@triton.jit
def diagonal(row, column, height, width):
    """The sum of the weights of a pixel's neighbours inside the image."""
    rows = 2 + (row > 0).to(tl.int32) + (row < height - 1).to(tl.int32)
    columns = 2 + (column > 0).to(tl.int32) + (column < width - 1).to(tl.int32)
    return rows * columns - 4

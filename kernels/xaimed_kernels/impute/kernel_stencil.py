"""What the image's grid and the coarse grids share: rows of values around points, interpolation, a program's tile.

All grids are stored flat, in rows of ``stride`` values (a multiple of 4, so that a thread loads 4 at once), with zeros
around them: at least one behind each row, which is also before the next, and three rows above and below. So no load
asks whether a neighbour is inside, and a kernel that treats all points alike runs over the rows as over one line.
"""

import triton
import triton.language as tl


@triton.jit
def tile_of(index, rows, columns, TILE_Y: tl.constexpr, TILE_X: tl.constexpr):
    """Rows ``[y, 1]`` and columns ``[1, x]`` of a tile; what lies beyond the grid is its last row or column again."""
    across = tl.cdiv(columns, TILE_X)
    row = index // across * TILE_Y + tl.arange(0, TILE_Y)[:, None]
    column = index % across * TILE_X + tl.arange(0, TILE_X)[None, :]
    return tl.minimum(row, rows - 1), tl.minimum(column, columns - 1)


@triton.jit
def three(p):
    """The values before, at and behind points."""
    return tl.load(p - 1), tl.load(p), tl.load(p + 1)


@triton.jit
def mixed(upper, lower):
    """Halfway between two coarse rows."""
    return 0.5 * (upper[0] + lower[0]), 0.5 * (upper[1] + lower[1]), 0.5 * (upper[2] + lower[2])


@triton.jit
def spread(row):
    """The columns -1, 0, 1, 2 from a vertex, between the vertices before, at and behind it."""
    return 0.5 * (row[0] + row[1]), row[1], 0.5 * (row[1] + row[2]), row[2]


@triton.jit
def interpolated(p_e, narrow):
    """The bilinear interpolation of a coarse grid at 4 x 4 fine points: from one above and left of vertices on."""
    upper, here, lower = three(p_e - narrow), three(p_e), three(p_e + narrow)
    return spread(mixed(upper, here)), spread(here), spread(mixed(here, lower)), spread(lower)


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

"""What the image's grid and the coarse grids share: neighbours, their weights, interpolation."""

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

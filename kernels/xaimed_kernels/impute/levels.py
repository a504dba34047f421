"""The grids of the multigrid: how a height and a width shrink."""

from __future__ import annotations


def grids(height: int, width: int, largest_direct: int) -> tuple[tuple[int, int], ...]:
    """Heights and widths from the image down to a grid of at most ``largest_direct`` points, at least two grids.

    Coarse vertices stand at the even positions 0, 2, ..., so that n points become n // 2 + 1: for even n the last
    vertex lies just outside the image. With it, a fill that falls linearly towards kept pixels at that side is
    represented on all grids; without it each level adds an error there (README, "What was tried").
    """
    shapes = [(height, width)]
    while len(shapes) == 1 or height * width > largest_direct:
        height, width = _coarser(height), _coarser(width)
        shapes.append((height, width))
    return tuple(shapes)


def _coarser(points: int) -> int:
    return points // 2 + 1 if points > 2 else points

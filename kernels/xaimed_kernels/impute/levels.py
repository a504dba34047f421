"""The grids of the multigrid: how a height and a width shrink."""

from __future__ import annotations


LARGEST = 81
LONGEST = 16
"""Points, and points in a row, of a grid that is solved directly: on larger ones the smoothest error is too soft for
float32 (see `cpu_hierarchy.STIFFER`), and a solution takes longer than another grid."""


def grids(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Heights and widths from the image down to a grid that is solved directly, at least two grids.

    Coarse vertices stand at the even positions 0, 2, ..., so that n points become n // 2 + 1: for even n the last
    vertex lies just outside the image. With it, a fill that falls linearly towards kept pixels at that side is
    represented on all grids; without it each level adds an error there (README, "What was tried").
    """
    shapes = [(height, width)]
    while len(shapes) == 1 or height * width > LARGEST or max(height, width) > LONGEST:
        height, width = _coarser(height), _coarser(width)
        shapes.append((height, width))
    return tuple(shapes)


def _coarser(points: int) -> int:
    return points // 2 + 1 if points > 2 else points

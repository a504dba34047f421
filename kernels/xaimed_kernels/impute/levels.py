"""The grids of the multigrid and the schedule that all backends share."""

from __future__ import annotations

import math

IMAGE_SPECTRUM = (2 / 3, 4 / 3)
"""Eigenvalues of D^-1 A that no coarser grid represents, on the image itself (the stencil's symbol)."""

COARSE_SPECTRUM = (0.35, 1.7)
"""The same on coarser grids, found by trial: see the README's tuning log."""

LINE_SPECTRUM = (0.5, 2.0)
"""The same where an image is a single row or column."""

RATE = 1 / 7
"""What one cycle leaves of the error at most: 0.132 was the largest in 8,000 random masks, 0.04 is usual on CAMs."""

MOST_CYCLES = 10
"""Cycles after which to give up; at that rate 8 reach the smallest tolerance of float32."""

MOST_REFINING_CYCLES = 17
"""The same with the image's grid in float64: 15 reach the smallest tolerance there is."""

STIFFER = 1 + 1e-4
"""Factor of the coarsest diagonal. Vertices around few removed pixels are nearly dependent; without this their
solution is a large difference that rounding blows up. It leaves 2 % of the smoothest error, a matter of one visit."""

LARGEST = 81
LONGEST = 16
"""Points, and points in a row, of a grid that is solved directly: on larger ones the smoothest error is too soft for
float32 (see `STIFFER`), and a solution takes longer than another grid."""


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


def damping(level: int, shape: tuple[int, int]) -> tuple[float, float]:
    """Step sizes of two Jacobi sweeps: the inverse roots of Chebyshev's polynomial of degree 2."""
    low, high = LINE_SPECTRUM if 1 in shape else COARSE_SPECTRUM if level else IMAGE_SPECTRUM
    spread = (high - low) / 2 * math.cos(math.pi / 4)
    return 1 / ((low + high) / 2 + spread), 1 / ((low + high) / 2 - spread)

"""How two arms of one interleaved measurement compare: the ratio of their times with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import final

from xaimed_reports.store.records import Timing

EQUAL = 0.03
"""Two times whose whole interval lies within 3 % of each other are called the same."""
CONFIDENCE = 0.95
FEWEST_BLOCKS = 6
"""With fewer blocks no distribution-free interval reaches 95 %."""


@final
@dataclass(frozen=True)
class Ratio:
    """``over`` divided by ``under``: the median of the blocks' own ratios.

    Each block gives one ratio, so what slows the whole machine for a while cancels. ``low`` and ``high`` are two of
    these ratios, in order, and bound the median with probability ``confidence`` whatever the distribution.
    """

    value: float
    low: float
    high: float
    confidence: float


def ratio(over: Timing, under: Timing) -> Ratio:
    """The quotient of two arms' wall times. Both must come from the same interleaved blocks."""
    quotients = block_ratios(over, under)
    if not quotients:
        raise ValueError("the two timings share no block, so they were not measured together")
    return Ratio(median(quotients), *interval_of_median(quotients))


def block_ratios(over: Timing, under: Timing) -> list[float]:
    """The quotient of the two arms' medians in each block both visited, in the order taken."""
    a, b = block_medians(over), block_medians(under)
    return [a[block] / b[block] for block in sorted(a.keys() & b.keys())]


def block_medians(timing: Timing) -> dict[int, float]:
    """Each block's median time of one arm."""
    return {block: median(found) for block, found in _by_block(timing).items()}


def block_shortest(timing: Timing) -> dict[int, float]:
    """Each block's shortest call of one arm."""
    return {block: min(found) for block, found in _by_block(timing).items()}


def _by_block(timing: Timing) -> dict[int, list[float]]:
    samples: dict[int, list[float]] = {}
    for block, wall_s in timing.counted:
        samples.setdefault(block, []).append(wall_s)
    return samples


def interval_of_median(values: Sequence[float]) -> tuple[float, float, float]:
    """Two of the values that hold the true median between them, and the exact probability that they do.

    The number of values below the median is binomial(count, 1/2), whatever the distribution. The probability is at
    least `CONFIDENCE` from 6 values on; fewer give their extremes with less.
    """
    ordered, count = sorted(values), len(values)
    tails = [sum(math.comb(count, i) for i in range(k + 1)) / 2**count for k in range((count + 1) // 2)]
    rank = max((k for k, tail in enumerate(tails) if 2 * tail <= 1 - CONFIDENCE), default=0)
    return ordered[rank], ordered[-1 - rank], 1 - 2 * tails[rank]

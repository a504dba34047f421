"""How two arms of one interleaved measurement compare: the ratio of their times with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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
    a, b = over.block_medians, under.block_medians
    return [a[block] / b[block] for block in sorted(a.keys() & b.keys())]


def block_shortest(timing: Timing) -> dict[int, float]:
    """Each block's shortest call of one arm."""
    return {block: min(samples) for block, samples in timing.blocks.items()}


def interval_of_median(values: Sequence[float]) -> tuple[float, float, float]:
    """Two of the values that hold the true median between them, and the exact probability that they do.

    The number of values below the median is binomial(count, 1/2), whatever the distribution. The probability is at
    least `CONFIDENCE` from 6 values on; fewer give their extremes with less.
    """
    ordered = sorted(values)
    left_out, confidence = _left_out(len(ordered))
    return ordered[left_out], ordered[-1 - left_out], confidence


@cache
def _left_out(count: int) -> tuple[int, float]:
    """How many of so many values to leave out at either end, and how probably the rest hold the median."""
    outcomes, left_out = 2**count, 0
    exactly = at_most = 1  # ways to have k values below the median, and to have at most `left_out`
    for k in range(1, (count + 1) // 2):
        exactly = exactly * (count - k + 1) // k
        if 2 * (at_most + exactly) / outcomes > 1 - CONFIDENCE:
            break
        left_out, at_most = k, at_most + exactly
    return left_out, 1 - 2 * at_most / outcomes

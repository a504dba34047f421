"""How two arms of one interleaved measurement compare: the ratio of medians with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from .records import Timing

Array = NDArray[np.float64]

EQUAL = 0.03
"""Two times whose whole interval lies within 3 % of each other are called the same."""
FEWEST_BLOCKS = 5
RESAMPLES = 2000
SEED = 20250308

How = Literal["bootstrap over blocks", "extremes"]


@final
@dataclass(frozen=True)
class Ratio:
    """``over`` divided by ``under``; ``low`` and ``high`` bound it at 95 %.

    "extremes": too few blocks to resample, so the interval runs from the smallest possible quotient of two samples
    to the largest, which is wider.
    """

    value: float
    low: float
    high: float
    how: How


def ratio(over: Timing, under: Timing) -> Ratio:
    """The quotient of two arms' median wall times. Both must come from the same interleaved blocks."""
    value = median(over.wall_s) / median(under.wall_s)
    blocks = sorted(set(over.block) & set(under.block))
    if len(blocks) < FEWEST_BLOCKS:
        low = min(over.wall_s) / max(under.wall_s)
        return Ratio(value, low, max(over.wall_s) / min(under.wall_s), "extremes")
    picks = np.random.default_rng(SEED).integers(len(blocks), size=(RESAMPLES, len(blocks)))
    quotients = _medians(over, blocks, picks) / _medians(under, blocks, picks)
    low, high = np.quantile(quotients, (0.025, 0.975))
    return Ratio(value, float(low), float(high), "bootstrap over blocks")


def _medians(timing: Timing, blocks: list[int], picks: NDArray[np.int64]) -> Array:
    """The median of each resample of whole blocks; blocks hold equally many samples of one arm."""
    by_block = np.array(
        [[s for s, b in zip(timing.wall_s, timing.block, strict=True) if b == k] for k in blocks]
    )
    return np.median(by_block[picks].reshape(len(picks), -1), axis=1)

"""How our time follows the machine's pace, which the plain forward pass shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, sqrt
from statistics import fmean, median, stdev
from typing import final

from scipy import stats

from .ratio import block_medians, interval_of_median
from .records import Row
from .statistics import LEVEL

FEWEST_RUNS = 6
SLOWER = 0.10
"""A forward pass at least this much slower than usual, and slower than 95 of 100 runs, was disturbed."""
CLEARLY = 10
"""The pace must have moved by so many times the error of its measurement, which flattens the line: by 1 % then."""


@final
@dataclass(frozen=True)
class Pace:
    """A machine's usual pace, and how much of a change of it one row of ours shows.

    The pace of a machine changes with its neighbours and its clocks, but not for all work alike: what is bound by
    memory slows more than what is bound by Python. So a multiple of the forward pass still moves with the pace; here
    that is taken out, as a control variate is.
    """

    forward_s: float
    """The plain forward pass at the usual pace."""
    follows: float = 1.0
    """The share of the forward's relative change that ours shows. 1: all, a plain multiple of the forward."""
    error: float = 0.0
    """The standard error of ``follows``; 0 where it is not an estimate."""
    slowest_s: float | None = None
    """A forward pass that takes longer was slowed by something that was not there before. None: not known."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be a pace."""
        if not (0 < self.forward_s < 1e9 and isfinite(self.follows) and 0 <= self.error < 1e9):
            raise ValueError(f"no machine has the pace {self}")

    def forwards(self, ours_s: float, forward_s: float) -> float:
        """``ours_s`` in plain forward passes, as it would have been at the usual pace."""
        return ours_s / forward_s * (forward_s / self.forward_s) ** (1 - self.follows)


def values_at(row: Row, pace: Pace | None) -> list[float]:
    """Our time in each block, in plain forward passes; each sample in seconds where no forward pass was timed."""
    if row.timing is None:
        return []
    if row.forward is None:
        return [wall_s for _, wall_s in row.timing.counted]
    ours, forward = block_medians(row.timing), block_medians(row.forward)
    adjust = Pace(1.0) if pace is None else pace
    return [adjust.forwards(ours[block], forward[block]) for block in sorted(ours.keys() & forward.keys())]


def forward_of(row: Row) -> float | None:
    """The plain forward pass in this row, seconds; None where none was timed."""
    return median(block_medians(row.forward).values()) if row.forward is not None else None


def pace_of(rows: Sequence[Row]) -> Pace | None:
    """The pace of one row's runs of the same code; None where no forward pass was timed.

    ``follows`` is the slope of a line through the runs (logarithm of ours on that of the forward). It is taken only
    where the pace moved `CLEARLY` and where leaving out each run in turn shows that the line predicts that run better
    than a plain multiple does.
    """
    forwards = [found for row in rows if (found := forward_of(row)) is not None]
    if not rows or len(forwards) < len(rows):
        return None
    x = [log(found) for found in forwards]
    usual, slowest_s = exp(fmean(x)), _slowest(x)
    y = [log(median(values_at(row, None))) for row in rows]
    count, about = len(rows), sum((each - fmean(x)) ** 2 for each in x)
    measured = median(_error(row) for row in rows)
    if count < FEWEST_RUNS or about == 0 or sqrt(about / (count - 1)) < CLEARLY * measured:
        return Pace(usual, slowest_s=slowest_s)
    slope = sum((a - fmean(x)) * (b - fmean(y)) for a, b in zip(x, y, strict=True)) / about
    apart = [b - fmean(y) for b in y]
    off = [each - slope * (a - fmean(x)) for each, a in zip(apart, x, strict=True)]
    weight = [1 / count + (a - fmean(x)) ** 2 / about for a in x]  # a run's own pull on the line
    by_line = sum((each / max(1e-12, 1 - pull)) ** 2 for each, pull in zip(off, weight, strict=True))
    by_multiple = sum((each / (1 - 1 / count)) ** 2 for each in apart)
    if by_line >= by_multiple:
        return Pace(usual, slowest_s=slowest_s)
    return Pace(usual, 1 + slope, sqrt(sum(each**2 for each in off) / (count - 2) / about), slowest_s)


def _slowest(x: Sequence[float]) -> float | None:
    """Student's prediction limit for one more run, from the logarithms of the forward's times."""
    count = len(x)
    if count < FEWEST_RUNS:
        return None
    reach = float(stats.t.ppf(1 - LEVEL, count - 1)) * stdev(x) * sqrt(1 + 1 / count)
    return exp(fmean(x) + max(reach, log(1 + SLOWER)))


def _error(row: Row) -> float:
    """The standard error of the logarithm of one run's forward pass, from its blocks' median and its interval."""
    assert row.forward is not None
    low, high, _ = interval_of_median([*block_medians(row.forward).values()])
    return log(high / low) / (2 * 1.96)

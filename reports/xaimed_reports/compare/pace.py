"""How xaimed's time follows the machine's pace, which the plain forward pass shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log, pi, sqrt
from statistics import fmean, median, stdev
from typing import final

from scipy import stats

from xaimed_reports.compare.ratio import block_shortest
from xaimed_reports.compare.statistics import LEVEL
from xaimed_reports.store.rows import Row, Timed, timed

FEWEST_RUNS = 6
SLOWER = 0.10
"""A forward pass at least this much slower than usual, and slower than 95 of 100 runs, was disturbed."""
CLEARLY = 10
"""A pace that moved by fewer times the error of its measurement shows nothing of what follows it."""


@final
@dataclass(frozen=True)
class Pace:
    """A machine's usual pace, and how much of a change of it one row shows.

    The pace of a machine changes with its neighbours and its clocks, but not for all work alike: what a network
    computes slows, what Python adds to it may not. Then a multiple of the forward pass still moves with the pace;
    here that is taken out.
    """

    forward_s: float
    """The plain forward pass at the usual pace."""
    follows: float = 1.0
    """The share of the forward's relative change that the row shows. 1: all, a plain multiple of the forward."""
    slowest_s: float | None = None
    """A forward pass that takes longer was slowed by something that was not there before. None: not known."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be a pace."""
        if not (0 < self.forward_s < 1e9 and 0 < self.follows < 1e9):
            raise ValueError(f"no machine has the pace {self}")

    def forwards(self, ours_s: float, forward_s: float) -> float:
        """``ours_s`` in plain forward passes, as it would have been at the usual pace."""
        return ours_s / forward_s * (forward_s / self.forward_s) ** (1 - self.follows)


def values_at(row: Row, pace: Pace | None) -> list[float]:
    """xaimed's time in each block, in plain forward passes; each sample in seconds where no forward pass was timed.

    Of a block the shortest calls count: what disturbs a call only ever makes it longer (Chen and Revels 2016).
    """
    if not isinstance(row, Timed):
        return []
    if row.forward is None:
        return [wall_s for _, wall_s in row.timing.counted]
    ours, forward = block_shortest(row.timing), block_shortest(row.forward)
    adjust = Pace(1.0) if pace is None else pace
    return [adjust.forwards(ours[block], forward[block]) for block in sorted(ours.keys() & forward.keys())]


def forward_of(row: Row) -> float | None:
    """The plain forward pass in this row, seconds; None where none was timed."""
    shortest = _forwards(row)
    return median(shortest.values()) if shortest else None


def unsteadiness(row: Row) -> float:
    """By how much the plain forward passes of neighbouring blocks differ, the median; 0 where there are too few.

    A step from one pace to another within the run is one pair of neighbours, and does not count.
    """
    x = [log(shortest_s) for _, shortest_s in sorted(_forwards(row).items())]
    return median(abs(b - a) for a, b in pairwise(x)) if len(x) > 1 else 0.0


def _forwards(row: Row) -> dict[int, float]:
    """Each block's shortest plain forward pass; empty where none was timed."""
    found = timed(row)
    return block_shortest(found.forward) if found is not None and found.forward is not None else {}


def pace_of(rows: Sequence[Row]) -> Pace | None:
    """The pace of one row's runs of the same code; None where no forward pass was timed.

    Either the whole row follows the forward pass, or what it adds does not, and takes as long at any pace. The
    latter is taken only where the pace moved `CLEARLY` and the runs then agree better.
    """
    forwards = [found for row in rows if (found := forward_of(row)) is not None]
    if not rows or len(forwards) < len(rows):
        return None
    x = [log(found) for found in forwards]
    whole = Pace(exp(fmean(x)), slowest_s=_slowest(x))
    multiple = exp(fmean(_centres(rows, whole)))
    if multiple <= 1 or not _moved(rows, x):
        return whole
    return min(whole, dataclasses.replace(whole, follows=1 / multiple), key=lambda pace: scatter(rows, pace))


def scatter(rows: Sequence[Row], pace: Pace | None) -> float:
    """The standard deviation of the logarithm of xaimed's time in one row's runs, at the usual pace."""
    return stdev(_centres(rows, pace))


def _centres(rows: Sequence[Row], pace: Pace | None) -> list[float]:
    return [log(median(values_at(row, pace))) for row in rows]


def _moved(rows: Sequence[Row], x: Sequence[float]) -> bool:
    """Whether the pace, in logarithms ``x``, changed by clearly more between the runs than it is measured wrong by."""
    return len(rows) >= FEWEST_RUNS and stdev(x) > CLEARLY * median(_error(row) for row in rows)


def _error(row: Row) -> float:
    """The standard error of the logarithm of one run's forward pass, as that of a median of normal values.

    From how neighbouring blocks differ: a pace that changes within a run is no error of measuring it.
    """
    of_a_block = unsteadiness(row) / (0.6745 * sqrt(2))
    return of_a_block * sqrt(pi / 2 / len(_forwards(row)))


def _slowest(x: Sequence[float]) -> float | None:
    """Student's prediction limit for one more run, from the logarithms of the forward's times."""
    count = len(x)
    if count < FEWEST_RUNS:
        return None
    reach = float(stats.t.ppf(1 - LEVEL, count - 1)) * stdev(x) * sqrt(1 + 1 / count)
    return exp(fmean(x) + max(reach, log(1 + SLOWER)))

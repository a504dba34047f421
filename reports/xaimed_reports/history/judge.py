"""The newest run against its series: a step, or none; and what moved beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log, sqrt
from statistics import median
from typing import Literal, final

import numpy as np
from scipy import stats

from xaimed_reports.compare.ratio import EQUAL
from xaimed_reports.history.points import METRICS, Metric
from xaimed_reports.history.series import Series, series
from xaimed_reports.history.store import Stored

RECENT = 2
"""So many runs in a row must lie beyond: one alone may have met a neighbour."""
BASELINE = 30
"""Runs before them that say what is usual; older ones may have drifted."""
FEWEST = 8
"""Runs in the baseline below which nothing is judged."""
BEYOND = 0.001
"""How rarely one run of unchanged code lies beyond the limit; two in a row do so about this much squared."""
LARGER: dict[Metric, float] = {"time": EQUAL, "memory": 0.25, "difference": 9.0}
"""What is judged. A change by a smaller share is no finding, however sure: a peak of memory repeats to a quarter, a
difference of rounding to a factor of ten."""

Cause = Literal["code", "kernels", "machine"]


@final
@dataclass(frozen=True)
class Step:
    """One row's newest runs lie beyond what was usual."""

    row: str
    metric: Metric
    ratio: float
    """The newest runs' median over the usual one."""
    limit: float
    """The ratio that unchanged code stays below."""
    before: Stored
    """The last run as usual."""
    first: Stored
    """The first run beyond."""
    cause: Cause

    @property
    def worse(self) -> bool:
        """Whether it is a loss."""
        return self.ratio > 1


@final
@dataclass(frozen=True)
class Check:
    """What the newest run shows."""

    newest: Stored
    steps: tuple[Step, ...]
    broken: tuple[tuple[str, str], ...]
    """Rows that had a result in the run before on this machine and have none now, with "gone" or their status."""
    judged: tuple[str, ...]
    """Rows whose time could be judged."""
    young: tuple[tuple[str, str], ...]
    """Rows with too short a series, and what ended the one before."""
    disturbed: tuple[str, ...]
    """Rows whose time something disturbed in the newest run."""

    @property
    def findings(self) -> tuple[Step, ...]:
        """Steps that fail a check: losses that are not the machine's."""
        return tuple(step for step in self.steps if step.worse and step.cause != "machine")


def check(history: Sequence[Stored], *, factor: float = EQUAL) -> Check:
    """Judge the newest run of a history.

    A row has a step when each of its last `RECENT` runs lies beyond the median of the `BASELINE` runs before by more
    than ``factor`` and by more than unchanged code does in one of 400 runs (Student's limit for one more run, the
    spread taken from the median absolute deviation). The runs before are those since the last change in the
    environment or the row's definition. Raises ValueError for an empty history.
    """
    if not history:
        raise ValueError("the history holds no run")
    newest = history[-1]
    found: dict[Metric, dict[str, Series]] = {m: _of_newest(series(history, m), newest) for m in METRICS}
    steps = [
        step
        for metric, smallest in LARGER.items()
        for each in found[metric].values()
        if (step := _step(each, factor if metric == "time" else smallest, found["forward"].get(each.row)))
    ]
    times = found["time"]
    young = {row for row, each in times.items() if len(each.points) < FEWEST + RECENT}
    return Check(
        newest,
        tuple(steps),
        tuple(_broken(history)),
        tuple(row for row in times if row not in young),
        tuple((row, times[row].broke) for row in times if row in young),
        tuple(found["disturbed"]),
    )


def limits(baseline: Sequence[float], factor: float) -> tuple[float, float, float]:
    """The usual value, and the ratios to it that unchanged code stays between."""
    x = np.log(np.maximum(np.asarray(baseline, np.float64), 1e-300))
    usual = float(np.median(x))
    spread = 1.4826 * float(np.median(np.abs(x - usual)))
    reach = max(log(1 + factor), _student(len(x) - 1) * spread * sqrt(1 + 1 / len(x)))
    return exp(usual), exp(-reach), exp(reach)


@cache
def _student(freedom: int) -> float:
    return float(stats.t.isf(BEYOND, freedom))


def beyond(values: Sequence[float], factor: float) -> tuple[float, float] | None:
    """The ratio and the limit where the newest `RECENT` values are a step, else None."""
    baseline, recent = values[-RECENT - BASELINE : -RECENT], values[-RECENT:]
    if len(baseline) < FEWEST:
        return None
    usual, low, high = limits(baseline, factor)
    if usual <= 0 or min(recent) <= 0:
        return None
    ratios = [value / usual for value in recent]
    if max(ratios) / min(ratios) > high ** sqrt(2):
        return None  # disturbed runs differ from each other, too
    if min(ratios) > high:
        return median(ratios), high
    return (median(ratios), low) if max(ratios) < low else None


def _step(each: Series, factor: float, forward: Series | None) -> Step | None:
    found = beyond(each.values, factor)
    if found is None:
        return None
    first = _onset(each.values, *found)
    before = each.runs[first - 1]
    return Step(
        each.row, each.metric, *found, before, each.runs[first], _cause(each, forward, before, each.runs[-1])
    )


def _onset(values: Sequence[float], ratio: float, limit: float) -> int:
    """Where a step begins: the first of the runs that lie beyond the limit without a gap. Several may stand before the
    newest `RECENT`, while the series was too short to be judged."""
    usual = median(values[-RECENT:]) / ratio
    first = len(values) - RECENT
    while first > 1 and (values[first - 1] / usual > limit) == (ratio > 1):
        first -= 1
    return first


def _cause(each: Series, forward: Series | None, before: Stored, newest: Stored) -> Cause:
    """The machine where the plain forward pass stepped too, else the kernels where their figures changed, else code."""
    moved = forward is not None and each.metric == "time" and beyond(forward.values, EQUAL) is not None
    if moved:
        return "machine"
    return "kernels" if before.entry.figures != newest.entry.figures else "code"


def _of_newest(found: Sequence[Series], newest: Stored) -> dict[str, Series]:
    return {each.row: each for each in found if each.runs[-1].number == newest.number}


def _broken(history: Sequence[Stored]) -> list[tuple[str, str]]:
    """Rows with a time in the run before on this machine that now have none, of the benches that both ran."""
    newest = history[-1]
    earlier = [each for each in history[:-1] if each.entry.machine == newest.entry.machine]
    if not earlier:
        return []
    had, has = (
        {point.row for point in run.entry.points if point.metric in ("time", "disturbed")}
        for run in (earlier[-1], newest)
    )
    status = {each.row: each.status for each in newest.entry.broken}
    ran = {row.partition("[")[0] for row in (*status, *has)}
    return [(row, status.get(row, "gone")) for row in sorted(had - has) if row.partition("[")[0] in ran]

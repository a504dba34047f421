"""What AblationCAM and the cheaper maps cost: read from a run's records, and extrapolated where parts were timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import final

from xaimed_reports.compare.ratio import Ratio, interval_of_median, ratio
from xaimed_reports.store.records import OURS, REFERENCE, Part, Timing
from xaimed_reports.store.rows import Row, Run, Timed, timed

EXACT = "ablationcam"
CHEAP = "xgradcam"


@final
@dataclass(frozen=True)
class Extrapolated:
    """The time of a whole of which two parts were timed. Nothing here but ``timed`` was measured."""

    step: str
    whole: int
    timed: tuple[tuple[int, float], ...]
    """Steps and median seconds of each part."""
    step_s: float
    """Median over the blocks: the difference of the two parts' times over the difference of their steps."""
    fixed_s: float
    """What the smaller part took beside its steps; at least 0."""
    speedup: Ratio
    """The whole over xaimed's time, block by block."""

    @property
    def whole_s(self) -> float:
        """What is paid once, and every step."""
        return self.fixed_s + self.whole * self.step_s


@final
@dataclass(frozen=True)
class Entry:
    """One method at one layer of one network: xaimed's row and what is known of grad-cam's."""

    method: str
    ours: Timed
    forward: Timing
    """The plain forward pass of the same blocks."""
    theirs: Timed | None
    """grad-cam's, whole or, where ``extrapolated``, its largest part: peaks of memory are those of one step."""
    extrapolated: Extrapolated | None
    cheap: Ratio | None
    """xaimed's time over that of its `CHEAP` in the same blocks, where both ran in them."""

    @property
    def forwards(self) -> float:
        """xaimed's time in plain forwards of the same blocks."""
        return ratio(self.ours.timing, self.forward).value

    @property
    def first_forwards(self) -> float:
        """xaimed's first call, with whatever it recorded and checked."""
        return self.ours.timing.first_s / self.forward.typical_s

    @property
    def their_forwards(self) -> float | None:
        """grad-cam's, measured or extrapolated."""
        if self.extrapolated is not None:
            return self.extrapolated.speedup.value * self.forwards
        if self.theirs is None or self.theirs.forward is None:
            return None
        return ratio(self.theirs.timing, self.theirs.forward).value

    @property
    def reached(self) -> float | None:
        """The share of the ceiling: a forward for each channel over xaimed's time, over what it could be."""
        ceiling = self.ours.ceiling
        return ceiling.channels / self.forwards / ceiling.times if ceiling is not None else None


@final
@dataclass(frozen=True)
class Place:
    """The methods at one layer of one network, in the order measured."""

    model: str
    layer: str
    images: int
    entries: tuple[Entry, ...]

    def entry(self, method: str) -> Entry | None:
        """The method's entry, if it was measured here."""
        return next((e for e in self.entries if e.method == method), None)


def places(run: Run) -> tuple[Place, ...]:
    """Every layer at which AblationCAM was extrapolated; none where a run asked something else."""
    cases: dict[str, dict[str, Row]] = {}
    for row in run.rows:
        cases.setdefault(row.case.key, {})[row.impl] = row
    found: dict[tuple[str, ...], list[Entry]] = {}
    for rows in cases.values():
        ours = timed(rows.get(OURS))
        if ours is None or ours.forward is None:
            continue
        axes = ours.case.axes
        if {"method", "model", "layer"} <= axes.keys():
            where = tuple(value for axis, value in axes.items() if axis != "method")
            found.setdefault(where, []).append(_entry(axes["method"], ours, ours.forward, rows))
    cases_of = {where: entries[0].ours.case for where, entries in found.items()}
    return tuple(
        Place(case.axes["model"], case.axes["layer"], case.images, tuple(found[where]))
        for where, case in cases_of.items()
        if any(entry.extrapolated is not None for entry in found[where])
    )


def _entry(method: str, ours: Timed, forward: Timing, rows: dict[str, Row]) -> Entry:
    parts = {row.part.timed: (row.part, row) for row in rows.values() if isinstance(row, Timed) and row.part}
    largest = parts[max(parts)][1] if parts else None
    cheap = timed(rows.get(CHEAP))
    whole = rows.get(REFERENCE)
    return Entry(
        method=method,
        ours=ours,
        forward=forward,
        theirs=timed(whole) if whole is not None else largest,
        extrapolated=extrapolate([(part, row.timing) for part, row in parts.values()], ours.timing)
        if len(parts) > 1
        else None,
        cheap=ratio(ours.timing, cheap.timing) if cheap is not None else None,
    )


def extrapolate(parts: Sequence[tuple[Part, Timing]], ours: Timing) -> Extrapolated:
    """The whole from its smallest and largest part, both timed in the blocks of ``ours``."""
    ordered = sorted(parts, key=lambda each: each[0].timed)
    (small, small_time), (large, large_time) = ordered[0], ordered[-1]
    a, b, mine = small_time.block_medians, large_time.block_medians, ours.block_medians
    blocks = sorted(a.keys() & b.keys() & mine.keys())
    gap, whole = large.timed - small.timed, large.whole
    steps = [(b[k] - a[k]) / gap for k in blocks]
    step_s = median(steps)
    fixed_s = max(0.0, median(a[k] for k in blocks) - small.timed * step_s)
    quotients = [(fixed_s + whole * step) / mine[k] for step, k in zip(steps, blocks, strict=True)]
    return Extrapolated(
        step=large.step,
        whole=whole,
        timed=((small.timed, small_time.typical_s), (large.timed, large_time.typical_s)),
        step_s=step_s,
        fixed_s=fixed_s,
        speedup=Ratio(median(quotients), *interval_of_median(quotients)),
    )

"""Judge new results against old ones: time, memory, fidelity, and rows that came or went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, final

from xaimed_reports.compare.disturbance import disturbance
from xaimed_reports.compare.floor import Floor
from xaimed_reports.compare.pace import Pace, values_at
from xaimed_reports.compare.ratio import interval_of_median
from xaimed_reports.compare.sides import Side, why_incomparable
from xaimed_reports.compare.sides import shown as shown_only
from xaimed_reports.compare.statistics import Change, Noise, changes
from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.format import byte_count
from xaimed_reports.store.rows import Row, Run, Timed, failure

What = Literal["time", "memory", "fidelity", "row"]

FAILING: frozenset[Verdict] = frozenset(("slower", "larger", "gone", "wrong", "failed", "oom"))
DECIDED: tuple[Verdict, ...] = ("slower", "faster", "same")
"""What a row's time is judged as; every other verdict leaves it open."""
ASSUMED = Noise(row=0.10, family=0.10)
"""Between two single runs, where the machine's noise was never measured: processes may differ that much."""
HOST_SLACK = (0.25, 8 * 2**20)
"""Peaks of a process count allocator slack and repeat only roughly: a quarter, and 8 MiB."""
CUDA_SLACK = (0.01, 0)


@final
@dataclass(frozen=True)
class Judgement:
    """One finding about one row."""

    key: str
    what: What
    verdict: Verdict
    why: str
    change: Change | None = None
    shown: str = ""
    """What is shown but never judged: seconds on the same device, ratios to the reference."""


@final
@dataclass(frozen=True)
class Comparison:
    """All findings, and the state of the machine that produced them."""

    judgements: tuple[Judgement, ...]
    loaded: bool
    """Whether something disturbed the machine during most rows."""
    units: str
    """What was resampled: "processes" or "blocks of one process"."""
    fail_on: frozenset[Verdict] = FAILING
    doubted: tuple[str, ...] = ()
    """Rows whose times were not judged, because something disturbed the machine."""
    became_unknown: tuple[str, ...] = ()
    """Rows undecided because the new side alone is too noisy."""
    required: float = 0.0
    """The least share of rows to be judged, 0 to 1: see `coverage`."""

    @property
    def rows(self) -> frozenset[str]:
        """All rows that there is a finding about."""
        return frozenset(j.key for j in self.judgements)

    @property
    def judged(self) -> frozenset[str]:
        """The rows that something was decided about: their times, or a verdict that fails."""
        return frozenset(j.key for j in self.judgements if j.verdict in {*DECIDED, *self.fail_on})

    @property
    def coverage(self) -> float:
        """The share of rows that were judged, of those that the base has too: a new row cannot be."""
        could = self.rows - {j.key for j in self.judgements if j.verdict == "new"}
        return len(could & self.judged) / len(could) if could else 0.0

    @property
    def exit_code(self) -> int:
        """0 nothing against the change; 1 something is; 3 undecided: a disturbed machine, or too few rows judged."""
        if any(j.verdict in self.fail_on for j in self.judgements):
            return 1
        if self.loaded and any(j.what == "time" and j.verdict == "unknown" for j in self.judgements):
            return 3
        if self.became_unknown:
            return 1
        return 0 if self.judged and self.coverage >= self.required else 3

    @property
    def slower(self) -> tuple[str, ...]:
        """The rows whose time grew."""
        return tuple(j.key for j in self.judgements if j.what == "time" and j.verdict == "slower")

    def with_rows_of(self, again: Comparison) -> Comparison:
        """These findings, but for the rows that were measured again: of them what was found then."""
        new = {j.key for j in again.judgements}
        return replace(
            self,
            judgements=(*(j for j in self.judgements if j.key not in new), *again.judgements),
            loaded=self.loaded or again.loaded,
            doubted=(*(k for k in self.doubted if k not in new), *again.doubted),
            became_unknown=(*(k for k in self.became_unknown if k not in new), *again.became_unknown),
        )


def compare(
    base: Sequence[Run],
    new: Sequence[Run],
    *,
    floor: Floor | None = None,
    fail_on: frozenset[Verdict] = FAILING,
    required: float = 0.0,
) -> Comparison:
    """Judge ``new`` against ``base``. Several runs a side are processes, each a unit; of one run, its blocks are.

    A row of a process that something disturbed (`disturbance`) is left out; where that leaves half of a side or less,
    the row's times are not judged.
    ``floor``: how far runs of the same code lie apart on this machine, and its usual pace; of no use where a side was
    measured on another.
    ``required``: the least share of the base's rows that must be judged, 0 to 1.
    Raises ValueError where ``fail_on`` is empty: a comparison that cannot fail is none.
    """
    if not fail_on:
        raise ValueError("fail_on names no verdict, so that nothing could ever fail")
    old, now = Side(tuple(base)), Side(tuple(new))
    if floor is not None and not all(floor.fits(side.runs[0].machine) for side in (old, now)):
        floor = None
    processes = min(len(old.runs), len(now.runs)) > 1
    keys = list(dict.fromkeys([*old.rows, *now.rows]))
    both = [k for k in keys if k in old.timed and k in now.timed]
    pace = floor.pace if floor is not None else {}
    doubts = {k: why for k in both if (why := _doubt(pace.get(k), old.timed[k], now.timed[k])) is not None}
    apart = {k: why for k in both if (why := why_incomparable(old, now, k)) is not None}
    judged = [k for k in both if k not in apart and k not in doubts]
    quiet = [{k: _undisturbed(side.timed[k], pace.get(k)) for k in judged} for side in (old, now)]
    before, after = ({k: _values(rows, processes, pace.get(k)) for k, rows in side.items()} for side in quiet)
    units = {k: min(len(before[k]), len(after[k])) if processes else 1 for k in judged}
    found = changes(before, after, _noise(floor, units))
    judgements: list[Judgement] = []
    for key in keys:
        row = _row_judgement(key, old.rows.get(key), now.rows.get(key))
        if row is not None:
            judgements.append(row)
            continue
        if key in both:
            judgements.append(_time_judgement(key, old, now, found.get(key), doubts.get(key), apart.get(key)))
            judgements += _memory_judgement(key, old.timed[key], now.timed[key])
    return Comparison(
        judgements=tuple(judgements),
        loaded=2 * len(doubts) > len(both),
        units="processes" if processes else "blocks of one process",
        fail_on=fail_on,
        required=required,
        doubted=tuple(doubts),
        became_unknown=tuple(
            k
            for k, c in found.items()
            if processes and c.decision == "unknown" and _noisier(before[k], after[k])
        ),
    )


def _noise(floor: Floor | None, units: Mapping[str, int]) -> dict[str, Noise]:
    """The machine's noise in each row; without a measured floor, several processes speak for themselves."""
    found = {key: Noise() if count > 1 else ASSUMED for key, count in units.items()}
    if floor is None:
        return found
    for key in floor.spread.keys() & found.keys():
        found[key] = Noise(*(floor.differ(key, processes=units[key], among=n) for n in (1, len(units))))
    return found


def _doubt(pace: Pace | None, *sides: tuple[Timed, ...]) -> str | None:
    """Why the times of a row must not be judged: half of a side's processes or more were disturbed; else None."""
    for rows in sides:
        if 2 * len(_undisturbed(rows, pace)) <= len(rows):
            return next(why for row in rows if (why := disturbance(row, pace)) is not None)
    return None


def _undisturbed(rows: tuple[Timed, ...], pace: Pace | None) -> tuple[Timed, ...]:
    return tuple(row for row in rows if disturbance(row, pace) is None)


def _values(rows: tuple[Timed, ...], processes: bool, pace: Pace | None) -> list[float]:
    """One value per unit: xaimed's time in plain forward passes; in seconds where no forward pass was timed."""
    found = [values_at(row, pace) for row in rows]
    return [median(values) for values in found] if processes else found[0]


def _noisier(base: Sequence[float], new: Sequence[float]) -> bool:
    """Whether the new side's median is known so much less well than the base's that it alone prevents a decision."""
    (a_low, a_high, _), (b_low, b_high, _) = interval_of_median(base), interval_of_median(new)
    return b_high / b_low - 1 > max(0.10, 3 * (a_high / a_low - 1))


def _row_judgement(key: str, old: tuple[Row, ...] | None, now: tuple[Row, ...] | None) -> Judgement | None:
    """What the rows' presence and statuses say; None when both sides have the row and it is right."""
    if now is None:
        return Judgement(key, "row", "gone", "measured before, absent now")
    for row in now:
        if (found := failure(row)) is not None:
            status, reason = found
            vanished = old is not None and failure(old[0]) is None and status in ("skipped", "degenerate")
            what: What = "fidelity" if status in ("wrong", "degenerate") else "row"
            return Judgement(key, what, "gone" if vanished else status, reason)
    if old is None:
        return Judgement(key, "row", "new", "not measured before")
    broken = next((found for row in old if (found := failure(row)) is not None), None)
    if broken is not None:
        return Judgement(key, "row", "new", f"it was {broken[0]} before: {broken[1]}")
    return None


def _time_judgement(
    key: str, old: Side, now: Side, change: Change | None, doubt: str | None, incomparable: str | None
) -> Judgement:
    shown = shown_only(old, now, key)
    if incomparable is not None:
        return Judgement(key, "time", "incomparable", incomparable, shown=shown)
    if doubt is not None:
        return Judgement(key, "time", "unknown", doubt, shown=shown)
    if change is None:
        return Judgement(key, "time", "unknown", "too few processes or blocks to judge by", shown=shown)
    span = f"{change.low:.3f} to {change.high:.3f}"
    why = {
        "slower": f"{change.ratio:.3f} times the base's time ({span}); {change.threshold:.1%} would still pass",
        "faster": f"{change.ratio:.3f} times the base's time ({span})",
        "same": f"the whole interval {span} lies within 3 %",
        "unknown": f"too noisy: the interval {span} allows more than one answer{_assumption(change)}",
    }[change.decision]
    return Judgement(key, "time", change.decision, why, change, shown)


def _assumption(change: Change) -> str:
    """What to do where the interval is as wide as it is only because the machine's noise is not known."""
    if change.noise is not ASSUMED:
        return ""
    return f", {ASSUMED.row:.0%} of noise assumed: xaimed compare --floor measures this machine's"


def _memory_judgement(key: str, old: tuple[Timed, ...], now: tuple[Timed, ...]) -> list[Judgement]:
    peaks = [[peak for row in rows if (peak := row.memory.peak_bytes)] for rows in (old, now)]
    if not peaks[0] or not peaks[1]:
        return []
    before, after = median(peaks[0]), median(peaks[1])
    share, slack = CUDA_SLACK if old[0].memory.reserved_bytes is not None else HOST_SLACK
    if after <= before * (1 + share) + slack:
        return []
    allowed = f"{share:.0%} + {byte_count(slack)} would pass"
    why = f"peak {byte_count(int(after))}, before {byte_count(int(before))}; {allowed}"
    return [Judgement(key, "memory", "larger", why)]

"""What a run says, ready to be shown: one line per case, each verdict with its reason, and three sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from xaimed_reports.compare.ratio import CONFIDENCE, EQUAL, Ratio, ratio
from xaimed_reports.compare.sides import LOADED_SHARE, throttled
from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.format import byte_count, case_words, difference, program, seconds, times
from xaimed_reports.rendering import paragraphs
from xaimed_reports.store.records import OURS, REFERENCE, Timing
from xaimed_reports.store.rows import Row, Run, Timed, failure

NOT_COMPARED: tuple[Verdict, ...] = ("wrong", "degenerate", "oom", "failed", "skipped", "alone")
PEERS = "compared with"
"""Heads the column of times beside xaimed where several implementations were measured."""
NAMED = 3
"""Cases whose names stand before a reason that they share."""
LEAST_CONFIDENCE = 0.85
"""Four blocks at the least: fewer give no interval to judge by."""


@final
@dataclass(frozen=True)
class Line:
    """One case of xaimed beside one implementation that it is compared with. Times are medians in seconds."""

    key: str
    name: str
    """What sets the case apart within its question: the values of the axes that vary, and a peer's name."""
    bench: str
    other: str
    ours: Row | None
    against: Row | None
    ours_s: float | None
    other_s: float | None
    speedup: Ratio | None
    """Time of the implementation beside it over that of xaimed."""
    ours_forwards: float | None
    """xaimed's time in plain forward passes of the same model, dtype and layout."""
    other_forwards: float | None
    memory_share: float | None
    """xaimed's peak above resident over that beside it."""
    verdict: Verdict
    why: str

    @property
    def beside(self) -> str:
        """What xaimed is compared with, by name, e.g. "grad-cam"."""
        return program(self.against) if self.against is not None else self.other

    @property
    def needs_reason(self) -> bool:
        """Whether the verdict alone leaves the reader asking why."""
        return self.verdict not in ("faster", "same", "alone")


def lines(run: Run) -> tuple[Line, ...]:
    """One line per case and implementation beside xaimed; a case measured alone has one line.

    A question's lines stand together, though a run measures the first case of each question first.
    """
    cases: dict[str, dict[str, Row]] = {}
    for row in run.rows:
        cases.setdefault(row.case.key, {})[row.impl] = row
    fixed = fixed_axes(run)
    found: list[Line] = []
    for rows in cases.values():
        ours = rows.get(OURS)
        others = [row for impl, row in rows.items() if impl != OURS]
        found += [_line(ours, other, fixed) for other in others] or [_line(ours, None, fixed)]
    asked = list(dict.fromkeys(line.bench for line in found))
    return tuple(sorted(found, key=lambda line: asked.index(line.bench)))


def reasons(found: Iterable[Line]) -> list[tuple[Verdict, str]]:
    """Why each verdict is what it is, where it needs a reason: cases that share verdict and reason in one sentence."""
    named: dict[tuple[Verdict, str], list[str]] = {}
    for line in found:
        if line.needs_reason:
            named.setdefault((line.verdict, line.why), []).append(line.name)
    return [(verdict, f"{verdict}: {_some(names)}: {why}") for (verdict, why), names in named.items()]


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return "; ".join(names) if more <= 1 else f"{'; '.join(names[:NAMED])} and {more} more"


def fixed_axes(run: Run) -> dict[str, dict[str, str]]:
    """Per question, the axes that have one value in all its cases; a table says them once."""
    seen: dict[str, dict[str, set[str]]] = {}
    for row in run.rows:
        axes = seen.setdefault(row.case.bench, {})
        for axis, value in row.case.axes.items():
            axes.setdefault(axis, set()).add(value)
    return {
        bench: {axis: min(values) for axis, values in axes.items() if len(values) == 1}
        for bench, axes in seen.items()
    }


def _name(row: Row, other: Row | None, fixed: dict[str, dict[str, str]]) -> str:
    varying = {axis: v for axis, v in row.case.axes.items() if axis not in fixed[row.case.bench]}
    name = case_words(varying or row.case.axes) or row.case.bench
    return name if other is None or other.impl == REFERENCE else f"{name} vs {other.impl}"


def _line(ours: Row | None, other: Row | None, fixed: dict[str, dict[str, str]]) -> Line:
    row = ours or other
    assert row is not None, "a case has at least one row"
    ours_t, other_t = (r.timing if isinstance(r, Timed) else None for r in (ours, other))
    speedup = ratio(other_t, ours_t) if ours_t is not None and other_t is not None else None
    verdict, why = _verdict(ours, other, speedup)
    return Line(
        key=row.case.key,
        name=_name(row, other, fixed),
        bench=row.case.bench,
        other=other.impl if other is not None else REFERENCE,
        ours=ours,
        against=other,
        ours_s=_median(ours_t),
        other_s=_median(other_t),
        speedup=speedup,
        ours_forwards=_forwards(ours),
        other_forwards=_forwards(other),
        memory_share=_memory_share(ours, other),
        verdict=verdict,
        why=why,
    )


def _median(timing: Timing | None) -> float | None:
    return timing.typical_s if timing is not None else None


def _forwards(row: Row | None) -> float | None:
    if not isinstance(row, Timed) or row.forward is None:
        return None
    return ratio(row.timing, row.forward).value


def _memory_share(ours: Row | None, other: Row | None) -> float | None:
    mine, theirs = (row.memory.peak_bytes if isinstance(row, Timed) else None for row in (ours, other))
    return mine / theirs if mine is not None and theirs else None


def _verdict(ours: Row | None, other: Row | None, speedup: Ratio | None) -> tuple[Verdict, str]:
    for row in (ours, other):
        if row is not None and (found := failure(row)) is not None:
            return found[0], f"{program(row)}: {found[1]}"
    if ours is None or other is None:
        return "alone", "nothing was measured beside it"
    if speedup is None:
        return "unknown", "checked, not timed"
    held_by = throttled(ours)
    if held_by:
        return "unknown", f"the GPU was throttled ({held_by})"
    if speedup.confidence < LEAST_CONFIDENCE:
        return (
            "unknown",
            f"too few blocks: their ratios {speedup.low:.3g} to {speedup.high:.3g} are no interval",
        )
    low, high, sure = speedup.low, speedup.high, f"at {speedup.confidence:.0%}"
    if low > 1 + EQUAL:
        return "faster", f"{speedup.value:.3g}x, at least {low:.3g}x {sure}"
    if high < 1 - EQUAL:
        return "slower", f"{1 / speedup.value:.3g}x the time, at least {1 / high:.3g}x {sure}"
    if low > 1 - EQUAL and high < 1 + EQUAL:
        return "same", f"the whole interval lies within {EQUAL:.0%} {sure}"
    cause = "too noisy" if speedup.confidence >= CONFIDENCE else "too few blocks"
    return "unknown", f"{cause}: the interval {low:.3g} to {high:.3g} allows more than one answer"


def title(run: Run, bench: str) -> str:
    """The question, and what is the same in all its cases."""
    fixed = case_words(fixed_axes(run).get(bench, {}))
    return f"{bench.capitalize()} ({fixed})" if fixed else bench.capitalize()


def columns(run: Run) -> tuple[str, ...]:
    """The head of `cells`. forwards and memory: of xaimed / of what is beside it."""
    alone = {row.impl for row in run.rows} <= {OURS, REFERENCE}
    other = reference_name(run) if alone else PEERS
    return (
        "case",
        "xaimed",
        other,
        "times faster [interval]",
        "forwards",
        "memory",
        "largest diff.",
        "verdict",
    )


def cells(line: Line) -> tuple[str, ...]:
    """One line's cells, in the order of `columns`."""
    ours, against = line.ours, line.against
    ratio = "-"
    if line.speedup is not None:
        ratio = f"{times(line.speedup.value)} [{line.speedup.low:.3g}, {line.speedup.high:.3g}]"
    memory = byte_count(ours.memory.peak_bytes) if isinstance(ours, Timed) else "-"
    if isinstance(against, Timed):
        memory += f" / {byte_count(against.memory.peak_bytes)}"
    forwards = f"{times(line.ours_forwards)} / {times(line.other_forwards)}"
    return (
        line.name,
        seconds(line.ours_s),
        seconds(line.other_s),
        ratio,
        forwards if line.ours_forwards is not None else "-",
        memory,
        difference(ours.fidelity if ours is not None else None),
        line.verdict,
    )


def sentences(run: Run) -> list[str]:
    """Who is faster, what it costs in forwards and memory, and whether it can be trusted: three paragraphs."""
    compared = [line for line in lines(run) if line.other == REFERENCE]
    timed = sorted((line for line in compared if line.speedup is not None), key=_speedup)
    mine = [(row, failure(row)) for row in run.rows if row.impl == OURS and row.fidelity]
    right = [row for row, found in mine if found is None]
    wrong = [row for row, found in mine if found is not None and found[0] == "wrong"]
    limits = [(row.fidelity.largest, row.allowed) for row in right if row.fidelity and row.allowed]
    verdicts = Counter(line.verdict for line in compared)
    conditions = {row.case.key: row.conditions for row in run.rows if row.conditions is not None}
    others = [c.others_share for c in conditions.values() if c.others_share is not None]
    return paragraphs(
        "sentences.txt",
        other=reference_name(run),
        said=(("faster", "faster"), ("same", "as fast"), ("slower", "slower"), ("unknown", "undecided")),
        timed=timed,
        compared=compared,
        verdicts=verdicts,
        left=[(status, verdicts[status]) for status in NOT_COMPARED if verdicts[status]],
        forwards=[line.ours_forwards for line in compared if line.ours_forwards is not None],
        other_forwards=[line.other_forwards for line in compared if line.other_forwards is not None],
        shares=[line.memory_share for line in compared if line.memory_share is not None],
        checked=len(right) + len(wrong),
        right=len(right),
        nearest=max(limits, key=lambda pair: pair[0] / pair[1], default=None),
        shares_of_others=others,
        busy=sum(share > LOADED_SHARE for share in others),
        limit=LOADED_SHARE,
    )


def _speedup(line: Line) -> float:
    return line.speedup.value if line.speedup is not None else 0.0


def reference_name(run: Run) -> str:
    """What the reference is called: "grad-cam" where all its rows say so, else "reference"."""
    names = {program(row) for row in run.rows if row.impl == REFERENCE}
    return names.pop() if len(names) == 1 else REFERENCE

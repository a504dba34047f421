"""What a run says, ready to be shown: one line per case, each verdict with its reason, and three sentences."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import final

from xaimed_reports.compare.ratio import CONFIDENCE, EQUAL, Ratio, ratio
from xaimed_reports.compare.sides import LOADED_SHARE, throttled
from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.format import byte_count, case_words, difference, seconds, times
from xaimed_reports.store.records import OURS, REFERENCE, Row, Run, Timing

JUDGED: tuple[Verdict, ...] = ("faster", "same", "slower")
NOT_COMPARED: tuple[Verdict, ...] = ("wrong", "degenerate", "oom", "failed", "skipped", "alone")
COLUMNS = (
    "case",
    "ours",
    "other",
    "times faster [interval]",
    "forwards",
    "memory",
    "largest diff.",
    "verdict",
)
"""What `cells` gives. forwards: times in plain forward passes; memory: peaks above resident; both ours / other."""
LEAST_CONFIDENCE = 0.85
"""Four blocks at the least: fewer give no interval to judge by."""


@final
@dataclass(frozen=True)
class Line:
    """One case of ours beside one other implementation. Times are medians in seconds."""

    key: str
    name: str
    """What sets the case apart within its question: the values of the axes that vary, and the other implementation."""
    bench: str
    axes: dict[str, str]
    images: int
    other: str
    ours: Row | None
    against: Row | None
    ours_s: float | None
    other_s: float | None
    speedup: Ratio | None
    """Time of the other over time of ours."""
    ours_forwards: float | None
    """Our time in plain forward passes of the same model, dtype and layout."""
    other_forwards: float | None
    memory_share: float | None
    """Our peak above resident over the other's."""
    verdict: Verdict
    why: str

    @property
    def needs_reason(self) -> bool:
        """Whether the verdict alone leaves the reader asking why."""
        return self.verdict not in ("faster", "same", "alone")


def lines(run: Run) -> tuple[Line, ...]:
    """One line per case and implementation beside ours; a case measured alone has one line without an other."""
    cases: dict[str, dict[str, Row]] = {}
    for row in run.rows:
        cases.setdefault(row.case.key, {})[row.impl] = row
    fixed = fixed_axes(run)
    found: list[Line] = []
    for rows in cases.values():
        ours = rows.get(OURS)
        others = [row for impl, row in rows.items() if impl != OURS]
        found += [_line(ours, other, fixed) for other in others] or [_line(ours, None, fixed)]
    return tuple(found)


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
    ours_t, other_t = (r.timing if r is not None else None for r in (ours, other))
    speedup = ratio(other_t, ours_t) if ours_t is not None and other_t is not None else None
    verdict, why = _verdict(ours, other, speedup)
    return Line(
        key=row.case.key,
        name=_name(row, other, fixed),
        bench=row.case.bench,
        axes=row.case.axes,
        images=row.case.images,
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
    if row is None or row.timing is None or row.forward is None:
        return None
    return ratio(row.timing, row.forward).value


def _memory_share(ours: Row | None, other: Row | None) -> float | None:
    mine = ours.memory.peak_bytes if ours is not None and ours.memory is not None else None
    theirs = other.memory.peak_bytes if other is not None and other.memory is not None else None
    return mine / theirs if mine is not None and theirs else None


def _verdict(ours: Row | None, other: Row | None, speedup: Ratio | None) -> tuple[Verdict, str]:
    for row in (ours, other):
        if row is not None and row.status != "ok":
            return row.status, f"{row.impl}: {row.reason or row.status}"
    if ours is None or other is None:
        return "alone", "no other implementation was measured beside it"
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


def cells(line: Line) -> tuple[str, ...]:
    """One line's cells: case, ours, other, ratio, forwards, memory, fidelity, verdict."""
    ours, against = line.ours, line.against
    ratio = "-"
    if line.speedup is not None:
        ratio = f"{times(line.speedup.value)} [{line.speedup.low:.3g}, {line.speedup.high:.3g}]"
    memory = byte_count(ours.memory.peak_bytes) if ours is not None and ours.memory is not None else "-"
    if against is not None and against.memory is not None:
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


def sentences(run: Run) -> tuple[str, str, str]:
    """Three sentences: who is faster, what it costs in forwards and memory, and whether it can be trusted."""
    compared = [line for line in lines(run) if line.other == REFERENCE]
    return _speed(compared), _cost(compared), _trust(run, compared)


def _speed(compared: list[Line]) -> str:
    timed = [line for line in compared if line.speedup is not None]
    if not timed:
        return "No case could be timed against the reference."
    if not any(line.verdict in JUDGED for line in timed):
        return f"Of {len(timed)} cases timed against the reference none could be decided."
    words: dict[Verdict, str] = {
        "faster": "faster",
        "same": "as fast",
        "slower": "slower",
        "unknown": "undecided",
    }
    counts = {word: sum(line.verdict == verdict for line in timed) for verdict, word in words.items()}
    said = ", ".join(f"{word} in {count}" for word, count in counts.items() if count)
    worst = min(timed, key=lambda line: line.speedup.value if line.speedup else 0)
    best = max(timed, key=lambda line: line.speedup.value if line.speedup else 0)
    return (
        f"Against the reference ours was {said} of {len(timed)} timed cases, "
        f"from {_times(worst)} to {_times(best)}."
    )


def _times(line: Line) -> str:
    value = line.speedup.value if line.speedup else float("nan")
    return f"{value:.3g}x ({line.name})"


def _cost(compared: list[Line]) -> str:
    mine = [line.ours_forwards for line in compared if line.ours_forwards is not None]
    theirs = [line.other_forwards for line in compared if line.other_forwards is not None]
    shares = [line.memory_share for line in compared if line.memory_share is not None]
    if not mine:
        return "No plain forward pass was timed beside them."
    text = f"In plain forward passes ours costs {_span(mine)}"
    text += f", the reference {_span(theirs)}" if theirs else ""
    return text + (f"; above what was resident ours needs {_span(shares)} of its memory." if shares else ".")


def _span(values: list[float]) -> str:
    return f"{min(values):.3g}x to {max(values):.3g}x (median {median(values):.3g}x)"


def _trust(run: Run, compared: list[Line]) -> str:
    ours = [row for row in run.rows if row.impl == OURS and row.fidelity is not None]
    judged = [row for row in ours if row.status in ("ok", "wrong")]
    right = [row for row in judged if row.status == "ok"]
    if not judged and not compared:
        return f"Nothing was checked and nothing compared; {_quiet(run)}."
    text = f"{len(right)} of {len(judged)} checked outputs of ours agree within what is allowed"
    text = text if judged else "no output of ours was checked"
    limits = [
        (row.fidelity.largest, row.allowed) for row in right if row.fidelity is not None and row.allowed
    ]
    if limits:
        largest, allowed = max(limits, key=lambda pair: pair[0] / pair[1])
        text += f" (nearest to the limit: {largest:.2g} of {allowed:.2g})"
    counts = {status: sum(line.verdict == status for line in compared) for status in NOT_COMPARED}
    bad = [f"{count} {status}" for status, count in counts.items() if count]
    undecided = sum(line.verdict == "unknown" for line in compared)
    text += f"; not compared: {', '.join(bad)}" if bad else ""
    text += f"; {undecided} undecided" if undecided else ""
    text += "; every case was compared" if not bad and not undecided else ""
    return f"{text[0].upper()}{text[1:]}; {_quiet(run)}."


def _quiet(run: Run) -> str:
    shares = {
        r.case.key: r.conditions.others_share
        for r in run.rows
        if r.conditions is not None and r.conditions.others_share is not None
    }
    if not shares:
        return "how busy the machine was is not known"
    busy = sum(share > LOADED_SHARE for share in shares.values())
    if busy:
        return f"in {busy} of {len(shares)} cases other processes used more than {LOADED_SHARE:.0%} of the machine"
    most = max(shares.values())
    return (
        f"the machine was quiet as far as its counters tell (other processes used at most {most:.0%} of it)"
    )

"""One case: run every arm once, check the outputs, and only then time them against each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch

from xaimed_bench.measure.clock import Clock
from xaimed_bench.measure.fidelity import LEAST_SPREAD_SHARE, Judge, of_maps
from xaimed_bench.measure.interleave import Interleaved, interleave
from xaimed_bench.measure.machine import Watch
from xaimed_bench.measure.memory import peak_above_resident
from xaimed_bench.measure.plan import OutOfTimeError, Plan
from xaimed_core.memory import is_out_of_memory
from xaimed_reports.store.ran import Ran
from xaimed_reports.store.records import (
    OURS,
    REFERENCE,
    Case,
    Ceiling,
    Conditions,
    Fidelity,
    Memory,
    Part,
    Status,
)
from xaimed_reports.store.rows import Row, Timed, Untimed

FORWARD = "forward"
Call = Callable[[], Any]


@final
@dataclass(frozen=True)
class Question:
    """What is asked of one case.

    ``arms``: name to call, "ours" first. ``what``: each arm in words. ``absent``: arms that cannot run here, and
    why. ``truth``: gives the output that all arms must agree with; without it, that is the reference's.
    ``allowed``: the largest difference that still counts as right. ``forward``: the plain forward pass.
    ``revision``: of the definition, so that a change of meaning is not read as a change of speed.
    ``exact``: the reference in higher precision, run only when xaimed differs by more than ``allowed``: a difference
    within the reference's own rounding error is no error of xaimed.
    ``notes``: what to say about xaimed's output, e.g. the route it took. ``keep``: is handed xaimed's output and the
    expected one, once, e.g. to keep pictures of them.
    ``unlike``: arms of another definition, which are timed though they differ, and a note says by how much.
    ``parts``: arms that do only so many steps of the whole. ``ceiling`` and ``ran``: what else is known of xaimed,
    found out after the timing.
    """

    case: Case
    arms: Mapping[str, Call]
    what: Mapping[str, str]
    allowed: float
    judge: Judge = of_maps
    truth: Call | None = None
    exact: Call | None = None
    forward: Call | None = None
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    revision: int = 1
    notes: Callable[[Any], Sequence[str]] | None = None
    keep: Callable[[Any, Any], None] | None = None
    unlike: Collection[str] = ()
    parts: Mapping[str, Part] = field(default_factory=dict[str, Part])
    ceiling: Callable[[], Ceiling] | None = None
    ran: Callable[[], Ran] | None = None

    def __post_init__(self) -> None:
        if self.truth is None and REFERENCE not in self.arms:
            raise ValueError(
                f"{self.case.key}: nothing to check against; give a reference, or truth= with the expected output"
            )


@dataclass(frozen=True)
class _Tried:
    """An arm's first call: its output (None when it broke), time, status and fidelity."""

    output: Any
    first_s: float
    status: Status
    reason: str | None = None
    fidelity: Fidelity | None = None
    notes: tuple[str, ...] = ()
    allowed: float | None = None


def measure_case(
    question: Question, plan: Plan | None, device: torch.device, *, cold: bool = False
) -> tuple[Row, ...]:
    """Check, time and weigh one case; one row per arm, absent arms included.

    Errors become statuses. ``plan=None``: check only, no time and no memory.
    Raises OutOfTimeError where the plan leaves no time for the fewest samples.
    """
    try:
        return _measure(question, plan, device, cold=cold)
    except OutOfTimeError:
        raise
    except Exception as error:
        return unmeasured(question, "oom" if is_out_of_memory(error) else "failed", one_line(error))


def _measure(question: Question, plan: Plan | None, device: torch.device, *, cold: bool) -> tuple[Row, ...]:
    watch = Watch(device)
    clock = Clock(device, cold=cold)
    tried = _judged(question, {name: _try(call, clock) for name, call in question.arms.items()})
    usable = {name: call for name, call in question.arms.items() if tried[name].status == "ok"}
    if OURS in question.arms and OURS not in usable:
        usable = {}
        tried = {n: _not_timed(t, "xaimed has no right result to compare with") for n, t in tried.items()}
    if plan is None:
        usable = {}
        timed = Interleaved({}, {})
    else:
        timed = _time(question, usable, {n: t.first_s for n, t in tried.items()}, plan, clock, watch.note)
    memory = {name: peak_above_resident(call, device) for name, call in usable.items()}
    now = watch.conditions()
    rows = [_row(question, name, tried[name], timed, memory.get(name), now) for name in question.arms]
    missing = [_unmeasured(question, name, "skipped", why) for name, why in question.absent.items()]
    return (*rows, *missing)


def _try(call: Call, clock: Clock) -> _Tried:
    try:
        output, first_s = clock.first(call)
    except Exception as error:
        return _Tried(None, 0.0, "oom" if is_out_of_memory(error) else "failed", reason=one_line(error))
    return _Tried(output, first_s, "ok")


def unmeasured(question: Question, status: Status, reason: str) -> tuple[Row, ...]:
    """The rows of a case that ended before or outside its arms' first calls."""
    return tuple(_unmeasured(question, name, status, reason) for name in (*question.arms, *question.absent))


def _unmeasured(question: Question, name: str, status: Status, reason: str) -> Row:
    return Untimed(
        case=question.case, impl=name, what=question.what.get(name, name), status=status, reason=reason
    )


def one_line(error: BaseException) -> str:
    """An error as one line of 300 characters at most."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


def _judged(question: Question, tried: dict[str, _Tried]) -> dict[str, _Tried]:
    """Compare each arm's output with the expected one; outputs are let go."""
    expected = question.truth() if question.truth is not None else tried[REFERENCE].output
    if question.keep is not None and OURS in tried and tried[OURS].status == "ok" and expected is not None:
        question.keep(tried[OURS].output, expected)
    judged: dict[str, _Tried] = {}
    for name, first in tried.items():
        is_yardstick = question.truth is None and name == REFERENCE
        if first.status != "ok" or is_yardstick:
            judged[name] = replace(first, output=None)
        elif expected is None:
            judged[name] = replace(
                first, output=None, status="skipped", reason="the reference gave nothing to check against"
            )
        else:
            judged[name] = _judge_one(question, name, first, expected)
    return _degenerate_together(judged)


def _judge_one(question: Question, name: str, first: _Tried, expected: Any) -> _Tried:
    try:
        fidelity = question.judge(first.output, expected)
        notes = question.notes(first.output) if name == OURS and question.notes is not None else ()
    except Exception as error:
        status = "oom" if is_out_of_memory(error) else "wrong"
        return replace(first, output=None, status=status, reason=one_line(error))
    allowed = question.allowed
    if fidelity.largest > allowed and question.exact is not None:
        allowed = max(allowed, question.judge(expected, question.exact()).largest)
        notes = (
            *notes,
            f"allowed {allowed:.2g}: the reference's own distance from its result in higher precision",
        )
    status, reason = _verdict(fidelity, allowed)
    if name in question.unlike and status == "wrong":
        status, notes = "ok", (*notes, f"another definition: {reason}")
        reason = None
    return replace(
        first,
        output=None,
        status=status,
        reason=reason,
        fidelity=fidelity,
        notes=tuple(notes),
        allowed=allowed,
    )


def _verdict(fidelity: Fidelity, allowed: float) -> tuple[Status, str | None]:
    if fidelity.spread < LEAST_SPREAD_SHARE:
        return "degenerate", (
            f"the expected output has a spread in only {fidelity.spread:.0%} of the images, "
            f"{LEAST_SPREAD_SHARE:.0%} are needed for a comparison that means something"
        )
    if not fidelity.largest <= allowed:
        return "wrong", f"largest difference {fidelity.largest:.2g}, allowed {allowed:.2g}"
    return "ok", None


def _degenerate_together(judged: dict[str, _Tried]) -> dict[str, _Tried]:
    """A reference without a spread makes the whole case degenerate, the reference's own row too."""
    ours = judged.get(OURS)
    if ours is None or ours.status != "degenerate":
        return judged
    return {
        name: replace(t, status="degenerate", reason=ours.reason) if t.status == "ok" else t
        for name, t in judged.items()
    }


def _not_timed(tried: _Tried, reason: str) -> _Tried:
    return replace(tried, status="skipped", reason=f"not timed: {reason}") if tried.status == "ok" else tried


def _time(
    question: Question,
    usable: Mapping[str, Call],
    first_s: dict[str, float],
    plan: Plan,
    clock: Clock,
    between: Callable[[], None],
) -> Interleaved:
    if not usable:
        return Interleaved({}, {})
    arms = dict(usable)
    if question.forward is not None:
        _, first_s[FORWARD] = clock.first(question.forward)
        arms[FORWARD] = question.forward
    return interleave(arms, first_s, plan=plan, clock=clock, between=between)


def _row(
    question: Question, name: str, tried: _Tried, timed: Interleaved, memory: Memory | None, now: Conditions
) -> Row:
    """With what else is found out where it was timed: of ours alone, but for the part that an arm did."""
    known: dict[str, Any] = {
        "case": question.case,
        "impl": name,
        "what": question.what.get(name, name),
        "fidelity": tried.fidelity,
        "allowed": tried.allowed,
        "conditions": now,
        "notes": tried.notes,
        "revision": question.revision,
    }
    if memory is None:
        return Untimed(**known, status=tried.status, reason=tried.reason)
    ours = name == OURS
    return Timed(
        **known,
        timing=timed.timings[name],
        forward=timed.timings.get(FORWARD),
        memory=memory,
        carry_over=timed.carry_over.get(name),
        part=question.parts.get(name),
        ceiling=question.ceiling() if ours and question.ceiling is not None else None,
        ran=question.ran() if ours and question.ran is not None else None,
    )

"""Which mechanism computes a tail's drops: decided once per model, layer, shape and precision, then remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NoReturn, assert_never, final
from weakref import WeakKeyDictionary

from torch import nn

from xaimed_core.explanation import Route
from xaimed_core.memory import is_out_of_memory
from xaimed_core.tail.plan.plan import Plan, plan
from xaimed_core.tail.plan.routes import describe
from xaimed_core.tail.record.calls import Tape
from xaimed_core.tail.record.guards import Unsupported
from xaimed_core.tail.record.program import fit
from xaimed_core.tail.rerun.capture import Capture, record_copies
from xaimed_core.tail.rerun.modules import CallRecorder, ModuleRerun, record_calls
from xaimed_core.tail.run.mechanisms import ByPlan, ByRows, Mechanism
from xaimed_core.tail.selfcheck import (
    BruteForce,
    brute_force,
    disagreement,
    mixing,
    unablated_disagreement,
    unrepeatable,
)

REMEMBERED = 32
"""Decisions kept per model and layer; the one unused for longest goes first."""

ROUNDING = 1.0
"""Disagreement, as a multiple of what rounding may leave, up to which a mechanism is trusted."""

MIXING = 100.0
"""Disagreement beyond which rows run alone are not the rows run together."""

OTHER_BATCH = "an image gives other scores in another batch than the caller's"


@final
@dataclass(frozen=True)
class PlanDecision:
    """The tail is a plan, at any batch size.

    copies: of one image that are needed for a recording of it; more than 1 only where one image alone runs other
        operations. chunks: rows per chunk as measured, by kind of outcome.
    """

    plan: Plan
    route: Route
    copies: int = 1
    chunks: dict[str, int] = field(default_factory=dict[str, int])


@final
@dataclass(frozen=True)
class RowsDecision:
    """The tail is run by the model's own code; ``alone``: row by row.

    in_order: every forward holds the caller's batch, in its order, for the model's rows belong to it.
    chunks: as in `PlanDecision`.
    """

    route: Route
    alone: bool
    bytes_per_row: int
    in_order: bool = False
    chunks: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def whole(self) -> bool:
        """Whether everything before the tail runs too."""
        return self.route.kind == "full-forward"


Decision = PlanDecision | RowsDecision

_remembered: WeakKeyDictionary[nn.Module, WeakKeyDictionary[nn.Module, OrderedDict[Hashable, Decision]]]
_remembered = WeakKeyDictionary()


def recall(model: nn.Module, layer: nn.Module, key: Hashable) -> Decision | None:
    """The decision for this layer and key, if it was made."""
    known = _remembered.get(model, {}).get(layer)
    try:  # single steps, for other threads share the decisions, and an interrupted one must not keep a lock
        if known is None:
            return None
        known.move_to_end(key)
        return known[key]
    except KeyError:
        return None


def remember(model: nn.Module, layer: nn.Module, key: Hashable, decision: Decision) -> None:
    """Keep a decision until its model goes, or until too many others were made."""
    known = _remembered.setdefault(model, WeakKeyDictionary()).setdefault(layer, OrderedDict())
    known[key] = decision
    while len(known) > REMEMBERED:
        known.popitem(last=False)


def mechanism(
    decision: Decision, capture: Capture, recorded: Tape | Unsupported, calls: CallRecorder | None
) -> Mechanism:
    """The decided mechanism, with what this capture's forward recorded. Raises `Unsupported` for another tail."""
    match decision:
        case PlanDecision(plan, route, copies, chunks):
            n = len(capture.images)
            tape = recorded if copies == 1 else record_copies(capture, copies)
            if isinstance(tape, Unsupported):
                raise tape
            if not plan.program.fits(tape, n * copies):
                raise Unsupported("this is not the tail that was planned")
            return ByPlan(capture, plan, plan.program.of_images(tape.external, 0, n), route, chunks)
        case RowsDecision(route, alone, bytes_per_row, in_order, chunks):
            kept = None
            if not decision.whole:
                capture = capture if calls is not None else capture.hooking_everything()
                kept = tuple((calls or record_calls(capture)).calls)
            rerun = ModuleRerun(capture, kept, bytes_per_row)
            found = ByRows(capture, rerun, route, alone, in_order, chunks)
            if not in_order and len(capture.images) > 1:
                _refuse_bound(found, capture)
            return found
        case _:
            assert_never(decision)


def _refuse_bound(found: ByRows, capture: Capture) -> None:
    """Raise `Unsupported` where an image run alone does not give what it gave in its batch."""
    try:
        apart = unablated_disagreement(found, capture)
    except Exception as error:  # the model's own code, as in `decide`
        if is_out_of_memory(error):
            raise
        raise Unsupported(f"another batch than the caller's fails with {_first_line(error)}") from error
    if apart > MIXING:
        raise Unsupported(OTHER_BATCH)


def decide(capture: Capture, recorded: Tape | Unsupported, memory_bytes: int) -> tuple[Decision, bool]:
    """The cheapest mechanism that agrees with brute force, and whether there were finite values to check it on.

    Raises ValueError where an image's output depends on the other images, or on earlier runs: nothing could.
    """
    alone = isinstance(recorded, Unsupported) and recorded.one_row
    try:
        truth = brute_force(capture, alone=alone)
    except (
        Exception
    ) as error:  # the model's own code may refuse another batch than the caller's, however it likes
        if is_out_of_memory(error):
            raise
        return _in_order(
            capture, recorded, f"another batch than the caller's fails with {_first_line(error)}"
        ), True
    try:
        planned = _planned(capture, recorded, truth)
    except Unsupported as unsupported:
        planned = unsupported
    if truth.apart > MIXING:
        return _in_order(capture, planned, OTHER_BATCH), True
    try:
        if isinstance(planned, Unsupported):
            raise planned
        found = mechanism(planned, capture, recorded, None)
        try:
            apart = disagreement(found, capture, truth, memory_bytes)
        except (
            RuntimeError
        ) as error:  # as of an operation that asks how memory lies, which is another for rows
            if is_out_of_memory(error):
                raise
            raise Unsupported(f"the recorded operations do not run for rows: {_first_line(error)}") from error
        if apart > ROUNDING:
            raise Unsupported("the recorded operations disagree with brute force")
        return planned, truth.sure
    except Unsupported as unsupported:
        return _rows(
            capture, truth, unsupported.reason, alone or unsupported.one_row, memory_bytes
        ), truth.sure


def _in_order(capture: Capture, recorded: Tape | PlanDecision | Unsupported, reason: str) -> RowsDecision:
    """For rows that belong to the caller's batch, as where the model holds something for each image.

    Raises ValueError where the images also depend on each other.
    """
    _refuse_memory(capture)
    reads = isinstance(recorded, Unsupported) and recorded.one_row
    if len(capture.images) > 1 and (reads or mixing(capture) > MIXING):
        _refuse_mixing(f"{recorded.reason}; {reason}" if isinstance(recorded, Unsupported) else reason)
    route = Route("full-forward", "full-forward, all images of the batch at a time", reason)
    return RowsDecision(route, False, 0, in_order=True)


def _refuse_memory(capture: Capture) -> None:
    if unrepeatable(capture) > ROUNDING:
        raise ValueError(
            "the model gives other scores for the same images when it runs again, so that a score and the score after "
            "an ablation would come from different networks; make the forward pass deterministic and without memory"
        )


def _refuse_mixing(reason: str) -> NoReturn:
    raise ValueError(
        f"one image's output depends on the other images of the batch ({reason}), so that ablating its channels "
        "has no result of its own; explain one image at a time, or mend the model"
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _planned(capture: Capture, recorded: Tape | Unsupported, truth: BruteForce) -> PlanDecision:
    if isinstance(recorded, Unsupported):
        raise recorded
    if isinstance(truth.tape, Unsupported):
        raise truth.tape
    n, m, copies = len(capture.images), truth.rows, 1
    try:
        program = fit(recorded, n, truth.tape, m)
    except Unsupported:
        tape = record_copies(capture, m + 1) if n == 1 else recorded
        if isinstance(tape, Unsupported) or n != 1:
            raise
        program, copies = fit(tape, m + 1, truth.tape, m), m
    found = plan(program, capture.channels, capture.channel_dim)
    return PlanDecision(found, describe(found), copies)


def _rows(capture: Capture, truth: BruteForce, reason: str, alone: bool, memory_bytes: int) -> RowsDecision:
    everything = capture.hooking_everything()
    calls = record_calls(everything)
    n = len(capture.images)
    tail_bytes, all_bytes = (
        2 * (size + capture.activation.nbytes) // n for size in (calls.tail_bytes, calls.all_bytes)
    )
    how = ", row by row" if alone else ""
    modules = RowsDecision(Route("module rerun", f"module rerun{how}", reason), alone, tail_bytes)
    try:
        if _disagreement(modules, everything, truth, calls, memory_bytes) <= ROUNDING:
            return modules
        against = "module rerun disagrees with brute force"
    except Exception as error:  # modules run again hand the model's code what it may not expect
        if is_out_of_memory(error):
            raise
        against = f"module rerun failed with {type(error).__name__}"
    _refuse_memory(capture)
    route = Route("full-forward", f"full-forward{how}", f"{reason}; {against}")
    whole = RowsDecision(route, alone, all_bytes)
    # rows run alone come from batches of one, to which a batch of several may be bound by more than rounding
    if _disagreement(whole, capture, truth, calls, memory_bytes) <= (ROUNDING if alone and n > 1 else MIXING):
        return whole
    if n > 1:
        return _in_order(capture, Unsupported(reason, one_row=alone), OTHER_BATCH)
    return RowsDecision(Route("full-forward", "full-forward, row by row", reason), True, all_bytes)


def _disagreement(
    decision: RowsDecision, capture: Capture, truth: BruteForce, calls: CallRecorder, memory_bytes: int
) -> float:
    try:
        found = mechanism(decision, capture, Unsupported(str(decision.route)), calls)
    except Unsupported:
        return float("inf")
    assert isinstance(found, ByRows)
    return max(disagreement(found, capture, truth, memory_bytes), unablated_disagreement(found, capture))

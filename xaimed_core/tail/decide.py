"""Which mechanism computes a tail's drops: decided once per model, layer, shape and precision, then remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import assert_never, final
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from xaimed_core.tail.capture import Capture, returning
from xaimed_core.tail.guards import Refusal
from xaimed_core.tail.mechanisms import ByPlan, ByRows, Mechanism
from xaimed_core.tail.plan import Plan, plan
from xaimed_core.tail.program import fit
from xaimed_core.tail.replay import CallRecorder, FullForward, ModuleReplay
from xaimed_core.tail.routes import describe
from xaimed_core.tail.selfcheck import BruteForce, brute_force, disagreement, unablated_disagreement
from xaimed_core.tail.tape import Tape

REMEMBERED = 32
"""Decisions kept per model and layer; the one unused for longest goes first."""

ROUNDING = 1.0
"""Disagreement, as a multiple of what rounding may leave, up to which a mechanism is trusted."""

MIXING = 100.0
"""Disagreement beyond which rows run alone are not the rows run together."""


@final
@dataclass(frozen=True)
class PlanDecision:
    """The tail is a plan, at any batch size. ``chunks``: rows per chunk as measured, by kind of outcome."""

    plan: Plan
    route: str
    chunks: dict[str, int] = field(default_factory=dict[str, int])


@final
@dataclass(frozen=True)
class RowsDecision:
    """The tail is run by the model's own code; ``whole``: with everything before it; ``alone``: row by row."""

    route: str
    whole: bool
    alone: bool
    bytes_per_row: int


Decision = PlanDecision | RowsDecision

_remembered: WeakKeyDictionary[nn.Module, WeakKeyDictionary[nn.Module, OrderedDict[Hashable, Decision]]]
_remembered = WeakKeyDictionary()


def recall(model: nn.Module, layer: nn.Module, key: Hashable) -> Decision | None:
    """The decision for this layer and key, if it was made."""
    known = _remembered.get(model, {}).get(layer)
    if known is None or key not in known:
        return None
    known.move_to_end(key)
    return known[key]


def remember(model: nn.Module, layer: nn.Module, key: Hashable, decision: Decision) -> None:
    """Keep a decision until its model goes, or until too many others were made."""
    known = _remembered.setdefault(model, WeakKeyDictionary()).setdefault(layer, OrderedDict())
    known[key] = decision
    while len(known) > REMEMBERED:
        known.popitem(last=False)


def fits(decision: PlanDecision, recorded: Tape | Refusal, n: int) -> bool:
    """Whether a recording is of the tail that was planned."""
    return isinstance(recorded, Tape) and decision.plan.program.fits(recorded, n)


def mechanism(
    decision: Decision, capture: Capture, recorded: Tape | CallRecorder | Refusal | None
) -> Mechanism:
    """The decided mechanism for one capture, with what its forward recorded."""
    match decision:
        case PlanDecision(plan, route, chunks):
            assert isinstance(recorded, Tape)
            return ByPlan(capture, plan, recorded.external, route, chunks)
        case RowsDecision(route, whole, alone, bytes_per_row):
            if whole:
                return ByRows(capture, FullForward(capture, bytes_per_row), route, alone)
            calls = recorded if isinstance(recorded, CallRecorder) else record_calls(capture)
            return ByRows(capture, ModuleReplay(capture, tuple(calls.calls), bytes_per_row), route, alone)
        case _:
            assert_never(decision)


def decide(capture: Capture, recorded: Tape | Refusal, memory_bytes: int) -> Decision:
    """The cheapest mechanism that agrees with brute force.

    Raises ValueError where an image's output depends on the other images, so that nothing could.
    """
    alone = isinstance(recorded, Refusal) and recorded.one_row
    truth = brute_force(capture, alone=alone)
    try:
        return _plan(capture, recorded, truth, memory_bytes)
    except Refusal as refusal:
        return _rows(capture, truth, refusal.reason, alone, memory_bytes)


def _plan(capture: Capture, recorded: Tape | Refusal, truth: BruteForce, memory_bytes: int) -> PlanDecision:
    for tape in (recorded, truth.tape):
        if isinstance(tape, Refusal):
            raise tape
    assert isinstance(recorded, Tape)
    assert isinstance(truth.tape, Tape)
    program = fit(recorded, len(capture.images), truth.tape, len(truth.logits))
    found = plan(program, capture.channels, capture.channel_dim)
    decision = PlanDecision(found, describe(found))
    if disagreement(mechanism(decision, capture, recorded), capture, truth, memory_bytes) > ROUNDING:
        raise Refusal("the recorded operations disagree with brute force")
    return decision


def _rows(capture: Capture, truth: BruteForce, reason: str, alone: bool, memory_bytes: int) -> RowsDecision:
    calls = record_calls(capture)
    n = len(capture.images)
    tail_bytes, all_bytes = (
        2 * (size + capture.activation.nbytes) // n for size in (calls.tail_bytes, calls.all_bytes)
    )
    how = ", row by row" if alone else ""
    replay = RowsDecision(f"replay{how}: {reason}", False, alone, tail_bytes)
    try:
        if _disagreement(replay, capture, truth, calls, memory_bytes) <= ROUNDING:
            return replay
        against = "replayed modules disagree with brute force"
    except Exception as error:  # replayed modules hand the model's code what it may not expect
        against = f"replayed modules failed with {type(error).__name__}"
    whole = RowsDecision(f"full-forward{how}: {reason}; {against}", True, alone, all_bytes)
    if _disagreement(whole, capture, truth, calls, memory_bytes) <= MIXING:
        return whole
    if n > 1:
        raise ValueError(
            f"one image's output depends on the other images of the batch ({reason}), so that ablating its channels "
            "has no result of its own; explain one image at a time, or mend the model"
        )
    return RowsDecision(f"full-forward, row by row: {reason}", True, True, all_bytes)


def _disagreement(
    decision: RowsDecision, capture: Capture, truth: BruteForce, calls: CallRecorder, memory_bytes: int
) -> float:
    found = mechanism(decision, capture, calls)
    assert isinstance(found, ByRows)
    return max(disagreement(found, capture, truth, memory_bytes), unablated_disagreement(found, capture))


def record_calls(capture: Capture) -> CallRecorder:
    """One more forward, in which modules' outputs are kept up to the layer."""
    recorder = CallRecorder(capture.model, capture.layer)

    def reach(rows: Tensor) -> Tensor:
        recorder.reach()
        return rows.clone()

    with capture.running(), recorder.recording(), returning(capture.layer, capture.activation, reach):
        capture.model(capture.images)
    return recorder

"""Measure the user's own model: every method and ROAD, one case after another, without pytest."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch

from xaimed_bench.measure import Plan
from xaimed_bench.measure.case import Question
from xaimed_bench.measure.session import Session, what_finished
from xaimed_bench.measure.subject import Subject
from xaimed_bench.questions import explaining, scoring
from xaimed_bench.running.asked import question_of
from xaimed_bench.running.order import need_known, shuffled
from xaimed_bench.running.outputs import Outputs
from xaimed_core import METHODS
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.records import OURS, Case
from xaimed_reports.store.rows import Run

NO_ORACLE = "grad-cam has no such method"


@final
@dataclass(frozen=True)
class OwnCase:
    """A case, and what asks its question: the arguments of `question_of`, while models are hooked."""

    case: Case
    ask: Callable[[], AbstractContextManager[dict[str, Any]]]


def own_cases(
    subject: Subject, name: str, methods: Sequence[str], *, alone: bool, road: bool, gate: bool = False
) -> list[OwnCase]:
    """Each method, in the order given, then ROAD of one image.

    ``name``: of the model. ``gate``: grad-cam checks maps and is not timed, as in the profile of that name. A method of
    the whole network, which reads no list of layers, is given the first.
    """
    count, size = len(subject.images), str(subject.images.shape[-1])
    tokens = f"{subject.layer} holds tokens, which grad-cam reads by a reshape_transform of the user's own"
    found: list[OwnCase] = []
    for method in methods:
        whole = METHODS[method].places == "network"
        at = replace(subject, layer=subject.layers[0]) if whole else subject
        axes = {"method": method, "model": name, "layer": at.layer, "batch": str(count)}
        case = Case(explaining.BENCH, {**axes, "dtype": "fp32", "size": size}, count)
        without = (
            "" if alone else NO_ORACLE if not METHODS[method].oracle else tokens if subject.layout else ""
        )
        reference = "none" if alone or without else "checks" if gate else "timed"
        ask = partial(explaining.explaining, at, (method,), reference=reference, without=without)
        found.append(OwnCase(case, ask))
    if road:
        one = replace(
            subject, images=subject.images[:1], classes=subject.classes[:1], pixels=subject.pixels[:1]
        )
        case = Case(scoring.BENCH, {"model": name, "size": size, "batch": "1"}, 1)
        found.append(OwnCase(case, partial(scoring.scoring, one, alone=alone)))
    return found


def chosen(cases: Sequence[OwnCase], only: Sequence[str], seed: int | None) -> list[OwnCase]:
    """The cases of these keys, all where there are none, in an order that a seed decides. Raises UnusableError."""
    need_known(only, (each.case for each in cases))
    found = [each for each in cases if not only or each.case.key in only]
    if seed is not None:
        order = shuffled([each.case for each in found], seed)
        found.sort(key=lambda each: order.index(each.case.key))
    return found


def measure_own(
    cases: Sequence[OwnCase], head: Run, plan: Plan, device: torch.device, outputs: Outputs, *, resume: bool
) -> Session:
    """Measure what an unfinished run has not; whatever ends this one, what was measured is stored.

    Raises UnusableError where the disk is full.
    """
    journal = outputs.hold()
    try:
        recovered = what_finished(outputs.journal_path, head) if resume else None
        session = Session(head, plan, device, expected=len(cases), recovered=recovered, journal=journal)
        if recovered is not None:
            session.pictures |= outputs.kept_pictures({row.case.key for row in recovered.run.rows})
        try:
            with _ended_as_by_ctrl_c():
                for each in cases:
                    _measure(each, session)
                    outputs.keep_pictures(session.pictures)
        finally:
            outputs.finish(session.run())
    except OSError as error:  # of a full disk
        what, left = error.strerror or str(error), outputs.journal_path.name
        raise UnusableError(f"{what}: the run ends here; --resume goes on with what {left} holds") from error
    finally:
        outputs.close()
    return session


def _measure(own: OwnCase, session: Session) -> None:
    if session.recover(own.case.key):
        return
    if not session.fits():
        session.leave_out(own.case)
        return
    say(session.begin(own.case.key))
    try:
        with own.ask() as asked:
            del asked["images"]  # which the case says
            session.rows(question_of(own.case, session, **asked))
    except Exception as error:  # of the user's model or of grad-cam, before anything was measured
        if session.knows(own.case.key) or isinstance(error, OSError):
            raise
        session.rows(_failing(own.case, error))


def _failing(case: Case, error: Exception) -> Question:
    def fail() -> None:
        raise error

    return Question(case=case, arms={OURS: fail}, what={OURS: "xaimed"}, allowed=0.0, truth=lambda: None)


@contextmanager
def _ended_as_by_ctrl_c() -> Generator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""The arguments of the fixture `measure` as a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from xaimed_bench.measure.case import Question
from xaimed_bench.measure.session import Session
from xaimed_reports.store.records import OURS, REFERENCE, Case


def question_of(
    case: Case,
    session: Session,
    ours: Callable[[], Any],
    *,
    against: Callable[[], Any] | None = None,
    what: str = "reference",
    called: str = "xaimed",
    peers: Mapping[str, Callable[[], Any]] | None = None,
    pictures: Callable[[Any, Any], Mapping[str, Any]] | None = None,
    **question: Any,
) -> Question:
    """The question of a case, whose pictures the session keeps. ``called``: xaimed, in words."""
    return Question(
        case=case,
        arms={OURS: ours, **({REFERENCE: against} if against else {}), **(peers or {})},
        what={OURS: called, REFERENCE: what},
        keep=pictures and (lambda mine, expected: session.keep(case.key, pictures(mine, expected))),
        **question,
    )

"""The tests of `pytest bench`: which case one belongs to, and how a row becomes its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from xaimed_reports.format import printable
from xaimed_reports.store.jsonform import UnusableError, to_json
from xaimed_reports.store.records import OURS, REFERENCE, SCHEMA, Case
from xaimed_reports.store.rows import Row, Timed, failure


def case_of(item: pytest.Function, images: int) -> Case:
    """The case a test belongs to: its function's name in words, and every parameter but the implementation.

    Raises UnusableError for a parameter that is no string: its id would not be the value's own.
    """
    axes: dict[str, Any] = {name: value for name, value in item.callspec.params.items() if name != "impl"}
    wrong = [name for name, value in axes.items() if not isinstance(value, str)]
    if wrong:
        raise UnusableError(
            f"{item.nodeid}: parametrise with short strings only, {', '.join(wrong)} is no string"
        )
    return Case(item.originalname.removeprefix("bench_").replace("_", " "), axes, images)


def report(request: pytest.FixtureRequest, row: Row | None) -> None:
    """Turn a row into a test's outcome, and its samples into a pytest-benchmark entry."""
    if row is None:
        pytest.skip("this implementation is not part of the question")
    if isinstance(row, Timed):
        counted = [wall_s for _, wall_s in row.timing.counted]
        request.node.add_marker(pytest.mark.benchmark(timer=_replay(counted)))
        benchmark = request.getfixturevalue("benchmark")
        benchmark.group = row.case.key
        benchmark.extra_info["xaimed"] = {"schema": SCHEMA, **to_json(row)}
        benchmark.pedantic(lambda: None, rounds=len(counted), iterations=1)
    match failure(row):
        case None:
            return
        case ("wrong" | "failed" as status, reason) if row.impl in (OURS, REFERENCE):
            pytest.fail(printable(f"{row.case.key}, {row.what}: {status}: {reason}"), pytrace=False)
        case (status, reason):
            pytest.skip(printable(f"{status}: {reason}"))


def _replay(samples: list[float]) -> Callable[[], float]:
    """A timer whose successive readings differ by the samples: 0, first sample, 0, second sample, ..."""
    readings = iter([reading for sample in samples for reading in (0.0, sample)])

    def replayed_samples() -> float:
        return next(readings)

    return replayed_samples

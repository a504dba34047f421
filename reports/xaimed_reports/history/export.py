"""Runs for other tools: a series each for time in forward passes, memory and fidelity of every row.

Sources of the formats:
    github-action-benchmark  the README of benchmark-action/github-action-benchmark, tool "customSmallerIsBetter"
    bencher                  Bencher Metric Format, https://bencher.dev/docs/reference/bencher-metric-format
    otava                    docs/CSV.md of apache/otava: one line a run, a column a series, no empty cell
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from xaimed_reports.history.points import Entry, Metric, Point, entry
from xaimed_reports.history.series import BREAKS
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.rows import Run

SERIES: dict[Metric, str] = {
    "time": "forwards",
    "memory": "peak-memory-bytes",
    "difference": "largest-difference",
}
"""What is exported of a row, and the series' name. The plain forward pass itself is the machine's, not xaimed's."""
SECONDS = "seconds"
"""The name of "time" where a question has no plain forward pass."""


def github_action_benchmark(runs: Sequence[Entry]) -> str:
    """The newest run as a JSON array of entries, of which smaller is better."""
    about = f"{runs[-1].machine}, torch {runs[-1].environment.get('torch', 'unknown')}"
    entries: list[dict[str, Any]] = []
    for name, point in _series(runs[-1]):
        spread = {"range": f"{point.low:.4g} to {point.high:.4g}"} if point.low < point.high else {}
        named = {"name": f"{point.row}: {name}", "unit": name}
        entries.append({**named, "value": point.value, "extra": about, **spread})
    return json.dumps(entries, indent=1)


def bencher(runs: Sequence[Entry]) -> str:
    """The newest run as Bencher Metric Format: a benchmark a row, a measure a series."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, point in _series(runs[-1]):
        bounds = {"lower_value": point.low, "upper_value": point.high} if point.low < point.high else {}
        found.setdefault(point.row, {})[name] = {"value": point.value, **bounds}
    return json.dumps(found, indent=1)


def otava(runs: Sequence[Entry]) -> str:
    """The runs that the newest may be compared with, oldest first, as a CSV with the columns time and commit.

    Otava refuses an empty cell, so that only series that every such run has are columns.
    """
    alike = [run for run in runs if _surroundings(run) == _surroundings(runs[-1])]
    values = [{f"{p.row}: {name}": p.value for name, p in _series(run)} for run in alike]
    columns = [name for name in values[-1] if all(name in each for each in values)]
    if not columns:
        raise UnusableError("no row was measured in all of these runs, so that there is no series to export")
    lines = (
        (run.started_utc, run.revision, *(each[name] for name in columns))
        for run, each in zip(alike, values, strict=True)
    )
    return _csv(("time", "commit", *columns), lines)


def every_number(runs: Sequence[Entry]) -> str:
    """Every number that a history keeps, one a line."""
    head = (
        "run", "started_utc", "revision", "machine", "torch", "row", "definition", "metric", "value", "low", "high",
    )  # fmt: skip
    lines = (
        (
            number, run.started_utc, run.revision, run.machine, run.environment.get("torch", ""),
            p.row, p.revision, p.metric, p.value, p.low, p.high,
        )
        for number, run in enumerate(runs, start=1)
        for p in run.points
    )  # fmt: skip
    return _csv(head, lines)


FORMATS: dict[str, Callable[[Sequence[Entry]], str]] = {
    "github-action-benchmark": github_action_benchmark,
    "bencher": bencher,
    "otava": otava,
    "points": every_number,
}
"""What runs, oldest first, can be written as."""


def exported(runs: Sequence[Entry], form: str) -> str:
    """Runs in the format of this name, of `FORMATS`. Raises UnusableError for another name."""
    if form not in FORMATS:
        raise UnusableError(f"no format {form!r}; there are {', '.join(FORMATS)}")
    return FORMATS[form](runs)


def exported_run(run: Run, form: str) -> str:
    """One run as `exported` writes it. Raises UnusableError where it holds no row of xaimed."""
    try:
        found = entry(run)
    except ValueError as error:
        raise UnusableError(str(error)) from error
    return exported([found], form)


def _surroundings(run: Entry) -> tuple[str, ...]:
    return tuple(run.environment.get(name, "") for name in BREAKS)


def _series(run: Entry) -> Iterator[tuple[str, Point]]:
    """Each series' name and its point, row by row."""
    with_forward = {point.row for point in run.points if point.metric == "forward"}
    for point in run.points:
        if point.metric in SERIES:
            in_seconds = point.metric == "time" and point.row not in with_forward
            yield SECONDS if in_seconds else SERIES[point.metric], point


def _csv(head: Sequence[str], lines: Iterator[tuple[Any, ...]]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(head)
    table.writerows(lines)
    return out.getvalue()

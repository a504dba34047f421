"""The page of trends: a picture per row, its change points with their commits, in one file that opens offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, final

import numpy as np
from markupsafe import Markup

from xaimed_reports.format import byte_count, number
from xaimed_reports.history.changes import change_points
from xaimed_reports.history.points import Metric
from xaimed_reports.history.series import Series, series
from xaimed_reports.history.store import Stored
from xaimed_reports.rendering import render
from xaimed_reports.show.drawing import BAD, SOFT, XAIMED, blank, inline, write_ticks

MOST = 400
"""Marks of one line: of a longer series each mark is the median of so many neighbouring runs as needed."""
SHOWN: dict[Metric, tuple[str, Callable[[float], str]]] = {
    "time": ("times a forward pass", number),
    "memory": ("memory", lambda value: byte_count(int(value))),
    "difference": ("largest difference", lambda value: f"{value:.1e}"),
}


@final
@dataclass(frozen=True)
class Changed:
    """A change point in words."""

    number: int
    when: str
    commit: str
    said: str


@final
@dataclass(frozen=True)
class Trend:
    """One row of the page."""

    name: str
    drawing: Markup
    changes: tuple[Changed, ...]


def page(history: Sequence[Stored]) -> str:
    """The whole page. Raises ValueError for an empty history."""
    if not history:
        raise ValueError("the history holds no run")
    found: dict[str, dict[Metric, list[Series]]] = {}
    for metric in SHOWN:
        for each in series(history, metric):
            found.setdefault(each.row, {}).setdefault(metric, []).append(each)
    return render(
        "history.html",
        first=history[0].entry.started_utc,
        last=history[-1].entry.started_utc,
        count=len(history),
        machines=sorted({each.entry.machine for each in history}),
        trends=[_trend(row, metrics) for row, metrics in sorted(found.items())],
    )


def _trend(row: str, metrics: dict[Metric, list[Series]]) -> Trend:
    height = 40 + 90 * len(metrics)
    figure, first = blank(720, height, (0.09, 0.12, 0.88, 0.8))
    first.remove()
    changes: list[Changed] = []
    for i, (metric, parts) in enumerate(metrics.items()):
        top = 1 - (18 + i * 90) / height
        plot = figure.add_axes((0.1, top - 60 / height, 0.87, 60 / height))
        changes += _draw(plot, metric, parts)
    drawing = inline(figure, f"{row} over time", "wide")
    return Trend(row, Markup(drawing), tuple(sorted(changes, key=lambda change: change.number)))


def _draw(plot: Any, metric: Metric, parts: Sequence[Series]) -> list[Changed]:
    """One metric's line: a piece per series, its interval as a band, change points as upright lines."""
    name, words = SHOWN[metric]
    found: list[Changed] = []
    for each in parts:
        x, value, low, high = _thinned(each)
        plot.fill_between(x, low, high, color=XAIMED, alpha=0.2, linewidth=0)
        plot.plot(x, value, "-", color=XAIMED, linewidth=1.2, marker="o", markersize=2)
        if each.broke:
            plot.axvline(x[0], color=SOFT, linewidth=1, linestyle=":")
            found.append(_changed(each, 0, f"{name}: a new series begins ({each.broke})"))
        for start in change_points(value):
            at = next(i for i, run in enumerate(each.runs) if run.number >= x[start])
            ratio = median(value[start : start + 10]) / median(value[max(0, start - 10) : start])
            plot.axvline(x[start], color=BAD, linewidth=1)
            found.append(_changed(each, at, f"{name}: {ratio - 1:+.1%}"))
    plot.grid(visible=True, axis="y", linewidth=0.6)
    plot.spines[:].set_visible(False)
    plot.tick_params(length=0, colors=SOFT, labelsize=8)
    plot.set_title(name, loc="left", color=SOFT, fontsize=9, pad=2)
    write_ticks(plot.yaxis, words)
    return found


def _thinned(each: Series) -> tuple[list[float], list[float], list[float], list[float]]:
    """The runs' numbers, values and intervals: those of groups of neighbours where there are too many."""
    step = -(-len(each.points) // MOST)
    columns = np.array([[p.value, p.low, p.high] for p in each.points])
    groups = range(0, len(columns), step)
    middle = [np.median(columns[i : i + step], axis=0) for i in groups]
    numbers = [float(each.runs[i].number) for i in groups]
    return numbers, *([float(m[k]) for m in middle] for k in range(3))  # pyright: ignore[reportReturnType]


def _changed(each: Series, at: int, said: str) -> Changed:
    run = each.runs[at]
    return Changed(run.number, run.entry.started_utc, run.entry.revision, said)

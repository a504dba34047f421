"""Figures of the page: positions in percent for its bars, and small drawings in SVG that follow the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import final

from xaimed_reports.format import byte_count, seconds, times
from xaimed_reports.show.summary import Line
from xaimed_reports.store.records import Timing


@final
@dataclass(frozen=True)
class Axis:
    """A logarithmic axis from ``low`` to ``high`` with ticks; positions are percent of its length."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """The position of ``value``, 0 to 100."""
        span = math.log(self.high / self.low)
        return round(100 * min(1.0, max(0.0, math.log(value / self.low) / span)), 2)


def log_axis(values: Sequence[float], *, through: float | None = None, most_ticks: int = 6) -> Axis:
    """An axis around positive ``values``, with ticks at 1, 2 and 5 of each decade, thinned to ``most_ticks``."""
    held = [*values, *([through] if through is not None else [])]
    low, high = min(held) / 1.15, max(held) * 1.15
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        ticks = [step * 10.0**d for d in decades for step in steps if low <= step * 10.0**d <= high]
        if len(ticks) <= most_ticks:
            break
    else:
        ticks = ticks[:: math.ceil(len(ticks) / most_ticks)]
    return Axis(low, high, tuple(ticks))


def binary_axis(values: Sequence[float], most_ticks: int = 5) -> Axis:
    """An axis around byte counts, with ticks at powers of two."""
    low, high = min(values) / 1.15, max(values) * 1.15
    ticks = [2.0**k for k in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    return Axis(low, high, tuple(ticks[:: max(1, math.ceil(len(ticks) / most_ticks))]))


@final
@dataclass(frozen=True)
class Interval:
    """A line of the ratio figure, in percent of its axis."""

    line: Line
    low: float
    at: float
    high: float


def intervals(found: Sequence[Line]) -> tuple[Axis, list[Interval]] | None:
    """The ratios with their intervals; None when nothing was timed."""
    timed = [(line, line.speedup) for line in found if line.speedup is not None]
    if not timed:
        return None
    axis = log_axis([v for _, r in timed for v in (r.low, r.high)], through=1.0)
    return axis, [Interval(line, axis.at(r.low), axis.at(r.value), axis.at(r.high)) for line, r in timed]


WIDTH, HEIGHT, LEFT, BOTTOM = 480, 320, 64, 44


@final
@dataclass(frozen=True)
class Point:
    """A point of a scatter figure: what it stands for, where, and whether it is ours."""

    label: str
    x: float
    y: float
    ours: bool


FLOOR = 1e-9
"""Differences below this are drawn at this: the logarithm of 0 has no place."""


def time_points(found: Sequence[Line]) -> list[Point]:
    """Time in plain forwards against the largest difference from the reference."""
    points: list[Point] = []
    for line in found:
        if line.ours_forwards is not None and line.ours is not None and line.ours.fidelity is not None:
            points.append(Point(line.name, line.ours_forwards, max(FLOOR, line.ours.fidelity.largest), True))
        if line.other_forwards is not None:
            points.append(Point(f"{line.name}, {line.other}", line.other_forwards, FLOOR, False))
    return points


def memory_points(found: Sequence[Line]) -> list[Point]:
    """Peak memory above resident against the largest difference from the reference."""
    points: list[Point] = []
    for line in found:
        for row, name in ((line.ours, line.name), (line.against, f"{line.name}, {line.other}")):
            peak = row.memory.peak_bytes if row is not None and row.memory is not None else None
            if row is not None and peak:
                error = row.fidelity.largest if row.fidelity is not None else 0.0
                points.append(Point(name, float(peak), max(FLOOR, error), row is line.ours))
    return points


def allowed_differences(found: Sequence[Line]) -> list[float]:
    """The limits that the differences of these lines had to keep."""
    return sorted({line.ours.allowed for line in found if line.ours is not None and line.ours.allowed})


def scatter(
    points: Sequence[Point], limits: Sequence[float], *, x_name: str, y_name: str, bytes_on_x: bool = False
) -> str:
    """A scatter drawing: lower is closer to the reference, further left is cheaper; ``limits``: what is allowed."""
    if not points:
        return ""
    x = binary_axis([p.x for p in points]) if bytes_on_x else log_axis([p.x for p in points])
    y = log_axis([*(p.y for p in points), *limits], through=FLOOR)
    marks = [_tick_x(x, t, byte_count(int(t)) if bytes_on_x else times(t)) for t in x.ticks]
    marks += [_tick_y(y, t, "0" if t <= FLOOR * 1.01 else f"{t:.0e}") for t in y.ticks]
    marks += [_limit(y, limit) for limit in limits]
    marks += [_mark(p, *_place(x, y, p)) for p in points]
    marks.append(f'<text x="{WIDTH}" y="{HEIGHT - 4}" class="end">{escape(x_name)}</text>')
    marks.append(f'<text x="4" y="12">{escape(y_name)}</text>')
    label = f"{y_name} against {x_name}, {len(points)} points; the table above holds the numbers"
    return (
        f'<svg class="scatter" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(marks)}</svg>"
    )


def _place(x: Axis, y: Axis, point: Point) -> tuple[float, float]:
    across = LEFT + x.at(point.x) / 100 * (WIDTH - LEFT - 12)
    return round(across, 1), round(20 + (1 - y.at(point.y) / 100) * (HEIGHT - BOTTOM - 20), 1)


def _mark(point: Point, x: float, y: float) -> str:
    title = f"<title>{escape(point.label)}</title>"
    if point.ours:
        return f'<circle class="ours" cx="{x}" cy="{y}" r="5">{title}</circle>'
    return f'<rect class="other" x="{x - 4.5}" y="{y - 4.5}" width="9" height="9">{title}</rect>'


def _limit(axis: Axis, value: float) -> str:
    y = round(20 + (1 - axis.at(value) / 100) * (HEIGHT - BOTTOM - 20), 1)
    said = f"<title>allowed: {value:.1g}</title>"
    return f'<line class="limit" x1="{LEFT}" x2="{WIDTH - 12}" y1="{y}" y2="{y}">{said}</line>'


def _tick_x(axis: Axis, value: float, text: str) -> str:
    x = round(LEFT + axis.at(value) / 100 * (WIDTH - LEFT - 12), 1)
    return (
        f'<line class="grid" x1="{x}" x2="{x}" y1="20" y2="{HEIGHT - BOTTOM}"/>'
        f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" class="middle">{escape(text)}</text>'
    )


def _tick_y(axis: Axis, value: float, text: str) -> str:
    y = round(20 + (1 - axis.at(value) / 100) * (HEIGHT - BOTTOM - 20), 1)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 12}" y1="{y}" y2="{y}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4}" class="end">{escape(text)}</text>'
    )


def strip(
    timings: Sequence[tuple[str, Timing]], clocks: Sequence[tuple[str, Sequence[float | None]]] = ()
) -> str:
    """Every raw sample of a case in the order taken, one lane per arm on one logarithmic scale; clocks below."""
    samples = [s for _, timing in timings for s in timing.wall_s]
    axis = log_axis(samples, most_ticks=4)
    height = 26 * (len(timings) + len(clocks))
    marks: list[str] = []
    for lane, (name, timing) in enumerate(timings):
        count = max(1, len(timing.wall_s) - 1)
        marks.append(f'<text x="0" y="{26 * lane + 16}">{escape(name)}</text>')
        for i, wall_s in enumerate(timing.wall_s):
            x, y = round(110 + 520 * i / count, 1), round(26 * lane + 24 - axis.at(wall_s) / 100 * 22, 1)
            marks.append(f'<circle class="{"ours" if name == "ours" else "other"}" cx="{x}" cy="{y}" r="2"/>')
    for lane, (name, values) in enumerate(clocks, len(timings)):
        marks.append(f'<text x="0" y="{26 * lane + 16}">{escape(name)}</text>')
        marks.append(_line(values, 26 * lane))
    said = ", ".join(f"{name} {seconds(min(t.wall_s))} to {seconds(max(t.wall_s))}" for name, t in timings)
    return f'<svg viewBox="0 0 640 {height}" role="img" aria-label="raw samples: {escape(said)}">{"".join(marks)}</svg>'


def _line(values: Sequence[float | None], top: int) -> str:
    known = [(i, v) for i, v in enumerate(values) if v is not None]
    if len(known) < 2:
        return ""
    low, high = min(v for _, v in known), max(v for _, v in known)
    spread, count = (high - low) or 1.0, max(1, len(values) - 1)
    path = " ".join(f"{110 + 520 * i / count:.1f},{top + 24 - 20 * (v - low) / spread:.1f}" for i, v in known)
    return f'<polyline class="clock" points="{path}"/>'

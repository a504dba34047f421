"""Figures of the page: ratios with their intervals, cost against fidelity, and every raw sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from xaimed_reports.format import XAIMED, byte_count, seconds, times
from xaimed_reports.show import drawing
from xaimed_reports.show.summary import Line
from xaimed_reports.store.records import Timing
from xaimed_reports.store.rows import Timed


def ratios(found: Sequence[Line]) -> str:
    """How many times faster, with intervals, one row a case; empty when nothing was timed."""
    timed = [(line, line.speedup) for line in found if line.speedup is not None]
    if not timed:
        return ""
    height = 24 * len(timed) + 30
    left = drawing.room(line.name for line, _ in timed)
    width = left + 440
    box = (left / width, 26 / height, 420 / width, 1 - 30 / height)
    figure, plot = drawing.blank(width, height, box, xscale="log")
    for row, (line, ratio) in enumerate(timed):
        plot.plot(
            (ratio.low, ratio.high), (row, row), color=drawing.XAIMED, linewidth=3, solid_capstyle="butt"
        )
        span = f"between {times(ratio.low)} and {times(ratio.high)}"
        drawing.mark(plot, ratio.value, row, f"{line.name}: {times(ratio.value)}, {span}")
    plot.axvline(1, color=drawing.OTHER, linewidth=1.5, linestyle="--")
    plot.set_ylim(len(timed) - 0.5, -0.5)
    plot.set_yticks(range(len(timed)), [drawing.plain(line.name) for line, _ in timed])
    plot.grid(visible=False, axis="y")
    drawing.write_ticks(plot.xaxis, times)
    return drawing.inline(figure, "times faster, with intervals; the table above holds the numbers", "wide")


@final
@dataclass(frozen=True)
class Point:
    """A point of a scatter figure: what it stands for, where, and whether it is xaimed's."""

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
            points.append(Point(f"{line.name}, {line.beside}", line.other_forwards, FLOOR, False))
    return points


def memory_points(found: Sequence[Line]) -> list[Point]:
    """Peak memory above resident against the largest difference from the reference."""
    points: list[Point] = []
    for line in found:
        for row, name in ((line.ours, line.name), (line.against, f"{line.name}, {line.beside}")):
            peak = row.memory.peak_bytes if isinstance(row, Timed) else None
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
    """Cost against distance: lower is closer to the reference, further left is cheaper; ``limits``: what is allowed."""
    if not points:
        return ""
    figure, plot = drawing.blank(480, 320, (0.13, 0.15, 0.83, 0.78), xscale="log", yscale="log")
    plot.set_ylim(FLOOR / 2, 3 * max([FLOOR, *limits, *(p.y for p in points)]))
    if bytes_on_x:
        plot.set_xscale("log", base=2)
    for limit in limits:
        plot.axhline(
            limit, color=drawing.BAD, linestyle="--", linewidth=1, gid=f"{drawing.SAID}allowed: {limit:.1g}"
        )
    for p in points:
        drawing.mark(plot, p.x, p.y, p.label, filled=p.ours, shape="o" if p.ours else "s")
    drawing.write_ticks(plot.xaxis, (lambda value: byte_count(int(value))) if bytes_on_x else times)
    drawing.write_ticks(plot.yaxis, lambda value: "0" if value <= FLOOR * 1.01 else f"{value:.0e}")
    drawing.name_axes(plot, x_name, y_name)
    label = f"{y_name} against {x_name}, {len(points)} points; the table above holds the numbers"
    return drawing.inline(figure, label, "scatter")


def strip(
    timings: Sequence[tuple[str, Timing]], clocks: Sequence[tuple[str, Sequence[float | None]]] = ()
) -> str:
    """Every raw sample of a case in the order taken, one lane per arm on one logarithmic scale; clocks below."""
    lanes = [*(name for name, _ in timings), *(name for name, _ in clocks)]
    left = drawing.room(lanes)
    width = left + 530
    figure, plot = drawing.blank(
        width, 26 * len(lanes), (left / width, 0, 520 / width, 1), ylim=(len(lanes), 0)
    )
    plot.axis("off")
    logs = [math.log(s) for _, timing in timings for s in timing.wall_s]
    for lane, name in enumerate(lanes):
        at = plot.get_yaxis_transform()
        plot.text(
            -left / 520, lane + 0.65, drawing.plain(name), transform=at, color=drawing.SOFT, fontsize=10
        )
    for lane, (name, timing) in enumerate(timings):
        colour = drawing.XAIMED if name == XAIMED else drawing.OTHER
        heights = _heights([math.log(s) for s in timing.wall_s], min(logs), max(logs), lane)
        plot.plot(_across(heights), heights, "o", markersize=3.5, color=colour, clip_on=False)
    for lane, (_, values) in enumerate(clocks, len(timings)):
        known = [v for v in values if v is not None] or [0.0]
        heights = _heights([math.nan if v is None else v for v in values], min(known), max(known), lane)
        plot.plot(_across(heights), heights, color=drawing.SOFT, linewidth=1)
    said = ", ".join(f"{name} {seconds(min(t.wall_s))} to {seconds(max(t.wall_s))}" for name, t in timings)
    return drawing.inline(figure, f"raw samples: {said}", "strip")


def _across(values: Sequence[float]) -> list[float]:
    return [i / max(1, len(values) - 1) for i in range(len(values))]


def _heights(values: Sequence[float], low: float, high: float, lane: int) -> list[float]:
    """Where values stand in their lane, the largest on top."""
    return [lane + 0.88 - 0.76 * (v - low) / ((high - low) or 1.0) for v in values]

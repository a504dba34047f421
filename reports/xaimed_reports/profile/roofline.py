"""Rooflines: what operations reach under measured roofs, and what counted kernels reach under a GPU's rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any, final

from xaimed_reports.format import number
from xaimed_reports.profile.card import Card, KernelShare, Predicted, PredictedTime
from xaimed_reports.show.drawing import as_file
from xaimed_reports.store.devices import device_name

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
COLOURS = ("#0b6e4f", "#9a4f00", "#3b5bdb", "#b3261e", "#7048a8", "#5c5f66")
MOST_LABELS = 24


@final
@dataclass(frozen=True)
class Point:
    """One case: where it lies, and what is written beside it."""

    operation: str
    case: str
    across: float
    up: float
    said: str
    filled: bool = True


def roofline(card: Card) -> str | None:
    """The picture as SVG; None where roofs or operations were not measured.

    Across: operations per byte that a fully fused operation must move; up: operations per second. The slanted line is
    the copy roof, the level ones are the matrix products.
    """
    if card.roofs is None or not card.kernels:
        return None
    copied, flops = card.roofs.copy_bytes_per_s, card.roofs.matrix_flops_per_s
    levels = {f"matrix product {name}, {rate / 1e12:.3g} TFLOP/s": rate for name, rate in flops.items()}
    paths = {"triton": "Triton kernels", "cpu": "CPU paths of the operations"}
    return _drawn(
        [_measured(kernel) for kernel in card.kernels],
        (f"copy {number(copied / 1e9)} GB/s", copied),
        levels,
        title=f"{device_name(card.machine)}: {paths[card.kernels[0].path]}",
        across="operations per byte that must be moved (labels: shape and share of the nearest roof)",
        up="operations per second",
    )


def predicted_roofline(card: Card) -> str | None:
    """The instruction roofline as SVG; None where nothing was predicted.

    Across: warp instructions per byte touched; up: warp instructions per second, hollow where they are predicted at
    half of the issue rate, filled where the same kernel was measured on this GPU.
    """
    found = card.predicted
    if found is None or not found.rows:
        return None
    issued, copied = found.rates.issue_per_s, found.rates.bytes_per_s
    title = "Predicted, not measured" if found.how == "given" else f"{device_name(card.machine)}: predicted"
    return _drawn(
        [*_predicted(found), *_issued(found, card.kernels or ())],
        (f"copy {number(copied / 1e9)} GB/s", copied),
        {
            f"issue rate, {issued / 1e9:.3g} G/s": issued,
            f"half of it, {issued / 2e9:.3g} G/s": issued / 2,
        },
        title=title,
        across="warp instructions per byte touched (labels: shape and share of a copy of what must move)",
        up="warp instructions per second",
    )


PICTURES: dict[str, Callable[[Card], str | None]] = {
    "profile.svg": roofline,
    "predicted.svg": predicted_roofline,
}
"""Beside the stored card: each picture's file, and what draws it."""


def _measured(kernel: KernelShare) -> Point:
    said = f"{kernel.case} {kernel.roof_share:.0%}"
    across, up = kernel.flops / kernel.moved_bytes, kernel.flops / kernel.seconds
    return Point(kernel.operation, kernel.case, across, up, said)


def _predicted(found: Predicted) -> list[Point]:
    return [
        _at(row, row.likely_s, f"{row.case} {row.copy_share(found.rates):.0%}", filled=False)
        for row in found.rows
    ]


def _issued(found: Predicted, kernels: Sequence[KernelShare]) -> list[Point]:
    """Where the kernels that were measured on this GPU lie."""
    took = {(k.operation, k.case): k for k in kernels if k.path == "triton" and found.how == "measured"}
    pairs = [(row, took[row.operation, row.case]) for row in found.rows if (row.operation, row.case) in took]
    return [_at(row, own.seconds, f"{row.case} measured", filled=True) for row, own in pairs]


def _at(row: PredictedTime, seconds: float, said: str, *, filled: bool) -> Point:
    across, up = row.warp_instructions / row.touched_bytes, row.warp_instructions / seconds
    return Point(row.operation, row.case, across, up, said, filled)


def _drawn(
    points: Sequence[Point],
    slope: tuple[str, float],
    levels: dict[str, float],
    *,
    title: str,
    across: str,
    up: str,
) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes: Any = figure.add_subplot(xscale="log", yscale="log")
    _draw_roofs(axes, points, slope, levels)
    _draw_points(axes, points)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(title, loc="left")
    axes.grid(visible=True, which="major", color="#d0d7de", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return as_file(figure)


def _draw_roofs(
    axes: Any, points: Sequence[Point], slope: tuple[str, float], levels: dict[str, float]
) -> None:
    said, copied = slope
    top = max(levels.values())
    low = min(point.across for point in points) / 3
    high = max(*(point.across for point in points), top / copied) * 3
    axes.set_xlim(low, high)
    axes.set_ylim(min(point.up for point in points) / 3, top * 3)
    ridge = top / copied
    axes.plot([low, ridge], [low * copied, top], color="#1b1f24", linewidth=1.6)
    start = low * 1.15
    axes.annotate(said, (start, start * copied), (10, 0), textcoords="offset points", va="top", fontsize=9)
    for name, rate in levels.items():
        axes.plot([rate / copied, high], [rate, rate], color="#1b1f24", linewidth=1.2, linestyle="--")
        axes.annotate(name, (high, rate), (-4, 4), textcoords="offset points", ha="right", fontsize=9)


def _draw_points(axes: Any, points: Sequence[Point]) -> None:
    """A marker for each case; where there are too many to read, only float32 in the usual layout is labelled."""
    colours: dict[str, str] = {}
    for i, operation in enumerate(dict.fromkeys(point.operation for point in points)):
        colours[operation] = COLOURS[i % len(COLOURS)]
        for filled in (True, False):
            own = [p for p in points if p.operation == operation and p.filled == filled]
            axes.plot(
                [point.across for point in own],
                [point.up for point in own],
                linestyle="none",
                marker=MARKERS[i % len(MARKERS)],
                color=colours[operation],
                markerfacecolor=colours[operation] if filled else "none",
                label=operation if own and (filled or not any(p.filled for p in points)) else None,
            )
    shown = [point for point in points if len(points) <= MOST_LABELS or not _is_variation(point.case)]
    _label(axes, sorted(shown, key=lambda point: point.up), colours)


def _is_variation(case: str) -> bool:
    return bool({"channels_last", "bf16"} & set(case.split("-")))


def _label(axes: Any, points: list[Point], colours: dict[str, str]) -> None:
    """A label right of each point, from below; one that would cover another is raised, a thin line leads to it."""
    (left, right), (bottom, top) = (map(log10, limits) for limits in (axes.get_xlim(), axes.get_ylim()))
    width, height = 0.2 * (right - left), 0.025 * (top - bottom)
    placed: list[tuple[float, float]] = []
    for point in points:
        x, own = log10(point.across), log10(point.up)
        y = own
        while any(abs(x - px) < width and abs(y - py) < height for px, py in placed):
            y += height / 4
        placed.append((x, y))
        moved = y > own + height
        axes.annotate(
            point.said,
            (10**x, 10**own),
            xytext=(10 ** (x + 0.012 * (right - left)), 10**y),
            fontsize=7,
            va="center",
            color=colours[point.operation],
            arrowprops={"arrowstyle": "-", "color": "#8c959f", "linewidth": 0.5, "relpos": (0, 0.5)}
            if moved
            else None,
        )

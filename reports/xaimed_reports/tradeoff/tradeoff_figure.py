"""The Pareto picture: what a map costs, on a logarithmic axis, against what it is worth. SVG, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any, final

from xaimed_reports.format import times
from xaimed_reports.show import drawing
from xaimed_reports.store.rows import Run
from xaimed_reports.tradeoff.tradeoff import by_network, scores

LINE = 0.05
"""From one name to the next, as a share of the plot's height."""


@final
@dataclass(frozen=True)
class Mark:
    """A map: where it stands in xaimed and in grad-cam, and what it is called."""

    name: str
    layer: str
    x: float
    theirs: float | None
    y: float


def drawn(run: Run, stem: str) -> dict[str, str]:
    """The pictures as files, by name: ``stem``, a dash and the network's name."""
    return {
        f"{stem}-{model}.svg": drawing.standing_alone(drawn) for model, (_, drawn) in _by_network(run).items()
    }


def pictures(run: Run) -> list[tuple[str, str]]:
    """A caption and a drawing for each network whose maps were judged; alone, they need `drawing.standing_alone`."""
    return list(_by_network(run).values())


def _by_network(run: Run) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for model, group in by_network(run).items():
        judged_on = next((q.images for p in group for e in p.entries for q in e.ours.qualities), None)
        if judged_on is None:
            continue
        marks = [
            Mark(entry.method, place.layer, entry.forwards, entry.their_forwards, mean(scores(quality)))
            for place in group
            for entry in place.entries
            if (quality := entry.quality(judged_on)) is not None
        ]
        caption = (
            f"{model}: time in plain forwards against score (insertion less deletion, {judged_on}). Up and left is "
            "better. Filled: xaimed; hollow: grad-cam's time for the same map. The dashed line joins xaimed's maps "
            "that no other of them beats in both."
        )
        found[model] = caption, _drawing(marks, f"{model}: score against time")
    return found


def front(marks: Sequence[Mark]) -> list[Mark]:
    """Maps of xaimed that no other of them beats: neither cheaper at the same score, nor better at the same cost."""
    found: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (m.x, -m.y)):
        if not found or mark.y > found[-1].y:
            found.append(mark)
    return found


def _drawing(marks: Sequence[Mark], label: str) -> str:
    figure, plot = drawing.blank(760, 420, (0.07, 0.15, 0.71, 0.77), xscale="log")
    best = front(marks)
    plot.step(
        [m.x for m in best], [m.y for m in best], "--", where="post", color=drawing.XAIMED, linewidth=1.2
    )
    layers = list(dict.fromkeys(m.layer for m in marks))
    shapes = {layer: "os^D"[k % 4] for k, layer in enumerate(layers)}
    for m in marks:
        name, shape = f"{m.name}, {m.layer} layer", shapes[m.layer]
        if m.theirs is not None:
            plot.plot((m.x, m.theirs), (m.y, m.y), color=drawing.LINE, linewidth=1.5, zorder=1)
            drawing.mark(
                plot, m.theirs, m.y, f"{name}, grad-cam: {times(m.theirs)}", filled=False, shape=shape
            )
        drawing.mark(plot, m.x, m.y, f"{name}, xaimed: {times(m.x)}, score {m.y:.3f}", shape=shape)
    plot.set_xlim(left=0.8)
    drawing.write_ticks(plot.xaxis, times)
    drawing.write_ticks(plot.yaxis, lambda value: f"{value:.2f}")
    drawing.name_axes(plot, "plain forwards", "score")
    _write_names(plot, marks)
    _write_legend(figure, plot, shapes)
    return drawing.inline(figure, f"{label}; the tables hold the numbers", "tradeoff")


def _write_names(plot: Any, marks: Sequence[Mark]) -> None:
    """Names in a column beside the plot, moved apart where they would touch, with a line from each mark to its name."""
    low, high = plot.get_ylim()
    wanted = sorted(marks, key=lambda m: m.y)
    for m, height in zip(wanted, _apart([(m.y - low) / (high - low) for m in wanted]), strict=True):
        plot.annotate(
            drawing.plain(f"{m.name}, {m.layer}"),
            (max(m.x, m.theirs or m.x), m.y),
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            color=drawing.INK,
            fontsize=10,
            arrowprops={
                "arrowstyle": "-",
                "color": drawing.SOFT,
                "linewidth": 0.5,
                "linestyle": ":",
                "relpos": (0, 0.5),
            },
        )


def _apart(heights: Sequence[float]) -> list[float]:
    """The same heights, ascending, pushed up where less than a line apart, then down again from the top."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + LINE) if placed else height)
    limit = 1.0
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - LINE
    return placed


def _write_legend(figure: Any, plot: Any, shapes: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    kinds = [(f"{layer} layer", shape, drawing.SOFT, drawing.SOFT) for layer, shape in shapes.items()]
    kinds += [
        ("xaimed", "o", drawing.XAIMED, drawing.XAIMED),
        ("grad-cam", "o", drawing.PAPER, drawing.OTHER),
    ]
    handles = [
        Line2D([], [], linestyle="", marker=shape, markerfacecolor=inside, markeredgecolor=edge, label=name)
        for name, shape, inside, edge in kinds
    ]
    figure.legend(
        handles=handles,
        loc="lower left",
        ncols=len(handles),
        frameon=False,
        labelcolor=drawing.SOFT,
        fontsize=10,
    )

"""The Pareto picture: what a map costs, on a logarithmic axis, against what it is worth. SVG, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10
from statistics import mean
from typing import final

from xaimed_reports.format import times
from xaimed_reports.show.figures import Axis, log_axis
from xaimed_reports.store.records import Run
from xaimed_reports.tradeoff.tradeoff import by_network, scores

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 168, 34, 58
LINE = 16
"""Pixels from one label to the next."""
STYLE = (
    "svg{--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--ours:#0b6e4f;--other:#9a4f00;--paper:#ffffff}"
    "@media(prefers-color-scheme:dark){svg{--ink:#e6edf3;--soft:#9aa4af;--line:#30363d;--ours:#4cc38a;"
    "--other:#f0a35e;--paper:#0d1117}}"
    "text{fill:var(--soft);font:13px system-ui,sans-serif}"
)
"""The page's own colours, for a picture that stands alone."""
MARKS = (
    "text.end{text-anchor:end}text.middle{text-anchor:middle}text.ink{fill:var(--ink)}"
    ".axis{stroke:var(--line)}.link{stroke:var(--line);stroke-width:1.5}"
    ".lead{fill:none;stroke:var(--soft);stroke-width:.6;stroke-dasharray:1 3}"
    ".front{fill:none;stroke:var(--ours);stroke-width:1.5;stroke-dasharray:5 4}"
    ".here{fill:var(--ours);stroke:var(--paper)}.there{fill:var(--paper);stroke:var(--other);stroke-width:2}"
)
"""What only these marks need. Filled is ours and hollow grad-cam's; a shape is a layer: colour is never alone."""

Position = Callable[[float, float], tuple[float, float]]
"""Forwards and score to the drawing's x and y."""


@final
@dataclass(frozen=True)
class Mark:
    """A map: where it stands for us and for grad-cam, and what it is called."""

    name: str
    layer: str
    x: float
    theirs: float | None
    y: float


def drawn(run: Run, stem: str) -> dict[str, str]:
    """The pictures as files, by name: ``stem``, a dash and the network's name."""
    return {
        f"{stem}-{model}.svg": standing_alone(drawing)
        for model, (_, drawing) in zip(by_network(run), pictures(run), strict=True)
    }


def pictures(run: Run) -> list[tuple[str, str]]:
    """A caption and a drawing for each network whose maps were judged; alone, they need `standing_alone`."""
    found: list[tuple[str, str]] = []
    for model, group in by_network(run).items():
        judged_on = group[0].entries[0].ours.qualities[0].images
        marks = [
            Mark(entry.method, place.layer, entry.forwards, entry.their_forwards, mean(scores(quality)))
            for place in group
            for entry in place.entries
            if (quality := entry.quality(judged_on)) is not None
        ]
        caption = (
            f"{model}: time in plain forwards against score (insertion less deletion, {judged_on}). Up and left is "
            "better. Filled: ours; hollow: grad-cam's time for the same map; the dashed line joins ours that no other "
            "of ours beats in both."
        )
        found.append((caption, _drawing(marks, f"{model}: score against time")))
    return found


def standing_alone(drawing: str) -> str:
    """The drawing as a file of its own, in the page's colours, light and dark."""
    named = drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return named.replace("<style>", f"<style>{STYLE}", 1) + "\n"


def front(marks: Sequence[Mark]) -> list[Mark]:
    """Ours that no other of ours beats: neither cheaper at the same score, nor better at the same cost."""
    found: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (m.x, -m.y)):
        if not found or mark.y > found[-1].y:
            found.append(mark)
    return found


def _drawing(marks: Sequence[Mark], label: str) -> str:
    x = log_axis([v for m in marks for v in (m.x, m.theirs) if v is not None], through=0.8, most_ticks=7)
    low, high = _span([m.y for m in marks])
    layers = list(dict.fromkeys(m.layer for m in marks))

    def at(across: float, up: float) -> tuple[float, float]:
        return (
            round(LEFT + x.at(across) / 100 * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - (up - low) / (high - low) * (HEIGHT - BOTTOM - TOP), 1),
        )

    parts = [
        f"<style>{MARKS}</style>",
        *_axes(x, low, high, at),
        _front([at(m.x, m.y) for m in front(marks)]),
    ]
    parts += [_link(at(m.x, m.y), at(m.theirs, m.y)) for m in marks if m.theirs is not None]
    for mark in marks:
        name = f"{mark.name}, {mark.layer} layer"
        if mark.theirs is not None:
            title = f"{name}, grad-cam: {times(mark.theirs)}"
            parts.append(_shape(layers.index(mark.layer), "there", at(mark.theirs, mark.y), title))
        title = f"{name}, ours: {times(mark.x)}, score {mark.y:.3f}"
        parts.append(_shape(layers.index(mark.layer), "here", at(mark.x, mark.y), title))
    parts += [*_labels(marks, at), *_legend(layers)]
    return (
        f'<svg class="tradeoff" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}; the tables hold the numbers">{"".join(parts)}</svg>'
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Round bounds around the scores."""
    margin = 0.12 * (max(values) - min(values)) or 0.05
    return min(values) - margin, max(values) + margin


def _axes(x: Axis, low: float, high: float, at: Position) -> list[str]:
    bottom = HEIGHT - BOTTOM
    marks: list[str] = []
    for tick in x.ticks:
        across = at(tick, low)[0]
        marks.append(f'<line class="axis" x1="{across}" x2="{across}" y1="{TOP}" y2="{bottom}"/>')
        marks.append(f'<text class="middle" x="{across}" y="{bottom + 17}">{times(tick)}</text>')
    step = _step(high - low)
    tick = (floor(low / step) + 1) * step
    while tick < high:
        up = at(x.low, tick)[1]
        marks.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up}" y2="{up}"/>')
        marks.append(f'<text class="end" x="{LEFT - 6}" y="{up + 4}">{tick:.2f}</text>')
        tick += step
    marks.append(f'<text class="end" x="{WIDTH - RIGHT}" y="{bottom + 34}">plain forwards</text>')
    marks.append('<text x="4" y="16">score</text>')
    return marks


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten: about five of them in the span."""
    power = 10.0 ** floor(log10(span / 5))
    return next(k * power for k in (1, 2, 5, 10) if span / (k * power) <= 6)


def _front(points: Sequence[tuple[float, float]]) -> str:
    """Steps: a better score from its cost on."""
    steps: list[str] = []
    for i, (across, up) in enumerate(points):
        if i:
            steps.append(f"{across},{points[i - 1][1]}")
        steps.append(f"{across},{up}")
    return f'<polyline class="front" points="{" ".join(steps)}"/>'


def _link(a: tuple[float, float], b: tuple[float, float]) -> str:
    return f'<line class="link" x1="{a[0]}" y1="{a[1]}" x2="{b[0]}" y2="{b[1]}"/>'


def _shape(layer: int, kind: str, point: tuple[float, float], title: str) -> str:
    x, y = point
    said = f"<title>{escape(title)}</title>"
    if layer == 0:
        return f'<circle class="{kind}" cx="{x}" cy="{y}" r="5.5">{said}</circle>'
    return f'<rect class="{kind}" x="{x - 5}" y="{y - 5}" width="10" height="10">{said}</rect>'


def _labels(marks: Sequence[Mark], at: Position) -> list[str]:
    """Names in a column beside the plot, moved apart where they would touch, with a line from each mark to its name."""
    edge = WIDTH - RIGHT
    ends = {id(m): at(max(m.x, m.theirs or m.x), m.y) for m in marks}
    wanted = sorted(marks, key=lambda m: ends[id(m)][1])
    parts: list[str] = []
    for mark, height in zip(wanted, _apart([ends[id(m)][1] for m in wanted]), strict=True):
        across, up = ends[id(mark)]
        points = f"{across + 7},{up} {edge},{up} {edge + 12},{height}"
        parts.append(f'<polyline class="lead" points="{points}"/>')
        name = escape(f"{mark.name}, {mark.layer}")
        parts.append(f'<text class="ink" x="{edge + 15}" y="{round(height + 4, 1)}">{name}</text>')
    return parts


def _apart(heights: Sequence[float]) -> list[float]:
    """The same heights, ascending, pushed down where less than a line apart, then up again from the bottom."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + LINE) if placed else height)
    limit = float(HEIGHT - BOTTOM)
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - LINE
    return [round(height, 1) for height in placed]


def _legend(layers: Sequence[str]) -> list[str]:
    parts: list[str] = []
    across = LEFT
    for k, layer in enumerate(layers):
        parts.append(_shape(k, "here", (across + 6, HEIGHT - 12), layer))
        parts.append(f'<text x="{across + 18}" y="{HEIGHT - 8}">{escape(layer)} layer</text>')
        across += 40 + 8 * len(f"{layer} layer")
    for kind, words in (("here", "ours"), ("there", "grad-cam")):
        parts.append(_shape(0, kind, (across + 6, HEIGHT - 12), words))
        parts.append(f'<text x="{across + 18}" y="{HEIGHT - 8}">{words}</text>')
        across += 40 + 8 * len(words)
    return parts

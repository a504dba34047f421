"""An evaluation as Markdown and as one HTML page: the paper's tables, with its published values beside."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from xaimed_reports.format import byte_count, number
from xaimed_reports.rendering import markdown_page, render, table
from xaimed_reports.show.drawing import blank, inline, mark, name_axes, write_ticks
from xaimed_reports.study.evaluation import Evaluation
from xaimed_reports.study.words import PUBLISHED, ROAD, findings, interval, is_baseline, right

Rows = list[tuple[str, ...]]
GLIOMA = "class glioma_tumor"


def report_markdown(found: Evaluation, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The whole report. ``pictures``: caption and address of each."""
    tables = [(title, table(rows, head)) for title, head, rows in _tables(found)]
    return markdown_page("study.md", e=found, findings=findings(found), tables=tables, pictures=pictures)


def report_in_short(found: Evaluation) -> str:
    """What a page of the docs shows: the findings, and the table of ROAD with accuracy and published values."""
    title, head, rows = _road(found) if ROAD in found.metrics() else _located(found)
    about = f"{found.network}, {found.images} images of {found.data} ({found.split}). {found.init}. `{found.command}`"
    return "\n\n".join(
        ("\n".join(f"- {said}" for said in findings(found)), f"**{title}**", table(rows, head), about)
    )


def _located(found: Evaluation) -> tuple[str, tuple[str, ...], Rows]:
    names = [name for name in ("pointing", "mass", "iou-otsu", "auprc") if name in found.metrics()]
    return "How well maps find the lesion", ("layer", "maps", *names), _rows(found, names)


def report_page(found: Evaluation, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """The same as a page that opens anywhere. ``pictures``: caption and data address of each."""
    return render(
        "study.html",
        e=found,
        findings=findings(found),
        tables=_tables(found),
        drawings=[Markup(drawing) for drawing in _drawings(found)],
        pictures=pictures,
    )


def _tables(found: Evaluation) -> list[tuple[str, tuple[str, ...], Rows]]:
    scored = ROAD in found.metrics()
    tables = [_road(found)] if scored else []
    other = [name for name in found.metrics() if not name.startswith(ROAD)]
    parts = (other[i : i + 4] for i in range(0, len(other), 4))
    tables += [(", ".join(names), ("layer", "maps", *names), _rows(found, names)) for names in parts]
    if scored:
        tables.append(_classes(found))
    if found.costs:
        tables.append(_costs(found))
    return tables


def _places(found: Evaluation) -> list[tuple[str, str]]:
    return [(layer, method) for layer in (*found.layers, "") for method in found.methods(layer)]


def _label(method: str) -> str:
    return f"{method} (baseline)" if is_baseline(method) else method


def _road(found: Evaluation) -> tuple[str, tuple[str, ...], Rows]:
    network = (found.recipe.get("init", found.init), right(found))
    gliomas = any(found.cell(layer, method, ROAD, GLIOMA) for layer, method in _places(found))

    def beside_the_paper(layer: str, method: str) -> tuple[str, ...]:
        published = f"{PUBLISHED[method]:+.2f}" if method in PUBLISHED else "-"
        return (interval(found.cell(layer, method, ROAD, GLIOMA)), published) if gliomas else ()

    rows: Rows = [
        (
            layer,
            _label(method),
            *(interval(found.cell(layer, method, name)) for name in (ROAD, "road-morf", "road-lerf")),
            *beside_the_paper(layer, method),
            *network,
        )
        for layer, method in _places(found)
    ]
    head = (
        "layer",
        "maps",
        "ROAD",
        "most relevant first",
        "least relevant first",
        *(("ROAD, glioma", "published, glioma") if gliomas else ()),
        "init",
        "right",
    )
    return f"ROAD at {', '.join(f'{f:.0%}' for f in found.removed)} removed", head, rows


def _rows(found: Evaluation, names: Sequence[str]) -> Rows:
    return [
        (layer, _label(method), *(interval(found.cell(layer, method, name)) for name in names))
        for layer, method in _places(found)
        if any(found.cell(layer, method, name) for name in names)
    ]


def _classes(found: Evaluation) -> tuple[str, tuple[str, ...], Rows]:
    groups = [g for g in dict.fromkeys(c.group for c in found.cells) if g != "all"]
    rows: Rows = [
        (layer, _label(method), *(interval(found.cell(layer, method, ROAD, group)) for group in groups))
        for layer, method in _places(found)
    ]
    return "ROAD by class and by whether the network is right", ("layer", "maps", *groups), rows


def _costs(found: Evaluation) -> tuple[str, tuple[str, ...], Rows]:
    rows: Rows = [
        (
            c.layer,
            c.method,
            f"{number(c.forwards)} [{number(c.low)}, {number(c.high)}]",
            byte_count(c.peak_bytes),
        )
        for c in found.costs
    ]
    head = ("layer", "method", "forward passes", "peak memory")
    return f"What a method costs on {found.machine}", head, rows


def _drawings(found: Evaluation) -> list[str]:
    """Cost against worth, a picture for each layer whose costs are known."""
    drawn: list[str] = []
    for layer in found.layers:
        costs = {c.method: c.forwards for c in found.costs if c.layer == layer}
        points = [(costs[m], cell.mean, m) for m in costs if (cell := found.cell(layer, m, ROAD)) is not None]
        if not points:
            continue
        figure, plot = blank(560, 260, (0.12, 0.16, 0.72, 0.68))
        plot.set_xscale("log", base=2)
        plot.margins(0.12)
        for x, y, name in points:
            mark(plot, x, y, f"{name}: {number(x)} forward passes, ROAD {y:+.3f}")
            plot.annotate(name, (x, y), xytext=(7, 4), textcoords="offset points", fontsize=9)
        write_ticks(plot.xaxis, number)
        write_ticks(plot.yaxis, lambda value: f"{value:+.3f}")
        name_axes(plot, "cost in forward passes", f"ROAD at {layer} ({found.layers[layer]})")
        drawn.append(inline(figure, f"cost against ROAD at {layer}", "wide"))
    return drawn

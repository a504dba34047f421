"""Every drawing of a report: matplotlib figures as SVG in the page's colours, light and dark, the same at every run."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable
from html import escape, unescape
from typing import Any

from xaimed_reports.format import printable

COLOURS = {
    "ink": ("#1b1f24", "#e6edf3"),
    "soft": ("#57606a", "#9aa4af"),
    "line": ("#d0d7de", "#30363d"),
    "xaimed": ("#0b6e4f", "#4cc38a"),
    "other": ("#9a4f00", "#f0a35e"),
    "bad": ("#b3261e", "#ff8a80"),
    "paper": ("#ffffff", "#0d1117"),
}
"""Of the page, on light paper and on dark. A figure is drawn in the light ones."""
INK, SOFT, LINE, XAIMED, OTHER, BAD, PAPER = (light for light, _ in COLOURS.values())
SAID = "said: "
"""Begins the gid of a mark that says something where the pointer rests."""


def blank(
    width: float, height: float, box: tuple[float, float, float, float], **axes: Any
) -> tuple[Any, Any]:
    """A figure of so many pixels and its axes. ``box``: left, bottom, width and height of the plot, as shares."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72))
    plot: Any = figure.add_axes(box, **axes)
    plot.grid(visible=True, which="major", color=LINE, linewidth=0.8)
    plot.set_axisbelow(True)
    plot.tick_params(which="both", length=0, colors=SOFT, labelsize=10)
    plot.spines[:].set_visible(False)
    return figure, plot


def mark(plot: Any, x: float, y: float, said: str, *, filled: bool = True, shape: str = "o") -> None:
    """A point: filled is xaimed's, hollow another's, so that colour is never alone. ``said``: what it is."""
    inside, edge = (XAIMED, PAPER) if filled else (PAPER, OTHER)
    plot.plot(
        x,
        y,
        shape,
        gid=SAID + escape(printable(said)),
        markersize=8,
        clip_on=False,
        markerfacecolor=inside,
        markeredgecolor=edge,
        markeredgewidth=0.8 if filled else 1.8,
    )


def write_ticks(axis: Any, words: Callable[[float], str]) -> None:
    """Few ticks between the limits that the axis has now, each written by ``words``."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    low, high = axis.get_view_interval()
    if axis.get_scale() == "linear" or high / low < 4:
        found = MaxNLocator(5)
    else:
        base = axis.get_transform().base
        found = LogLocator(base, subs=(1, 2, 5) if base == 10 and high / low < 500 else (1,), numticks=7)
    axis.set_major_locator(found)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))


def room(names: Iterable[str]) -> float:
    """Pixels that the longest of these names takes, and a gap."""
    return 6.4 * max(map(len, names)) + 12


def name_axes(plot: Any, x_name: str, y_name: str) -> None:
    """What is measured across, below the plot, and up, above it."""
    plot.set_xlabel(x_name, loc="right", color=SOFT, fontsize=10)
    plot.set_title(y_name, loc="left", color=SOFT, fontsize=10)


def plain(text: str) -> str:
    """The text as matplotlib writes it letter by letter: a dollar begins no formula."""
    return "\n".join(map(printable, text.split("\n"))).replace("$", r"\$")


def as_file(figure: Any) -> str:
    """The figure as an SVG file without a date, with fixed ids and text as text: what is the same is the same file."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.hashsalt": "xaimed", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's fonts decide, not matplotlib's
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "xaimed"})
    return out.getvalue()


def inline(figure: Any, label: str, kind: str) -> str:
    """The figure as SVG inside a page, in the page's colours and letters; its marks say what they are."""
    figure.patch.set_visible(False)
    figure.gca().patch.set_visible(False)
    file = as_file(figure)
    drawn = file[file.index("<g id=") :].rstrip()
    drawn = re.sub(rf'<g id="{SAID}([^"]*)">', lambda m: f"<g><title>{unescape(m[1])}</title>", drawn)
    drawn = re.sub(r'(<g) id="[^"]*"| clip-path="[^"]*"| font-family: [^;"]*;', r"\1", drawn)
    for name, (light, _) in COLOURS.items():
        drawn = drawn.replace(light, f"var(--{name})")
    width, height = figure.get_size_inches() * 72
    head = f'class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}"'
    return f"<svg {head}>{drawn}"

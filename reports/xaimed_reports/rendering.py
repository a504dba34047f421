"""Fill in the templates: every sentence and page of a report is text in ``templates/``, its numbers come from here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from statistics import mean, median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xaimed_reports.format import byte_count, number, printable, seconds, times

_SIGNS = str.maketrans({"\\": "\\\\", "|": "\\|", "*": "\\*", "`": "\\`", "<": "&lt;", "\n": " "})


def escaped(text: str) -> str:
    """A text for Markdown: what would end a table's cell, begin markup or a link, or steer a terminal, is disarmed."""
    return printable(text.translate(_SIGNS)).replace("](", "]\\(").replace("][", "]\\[")


def table(rows: Iterable[Iterable[str]], head: tuple[str, ...], *, last: str = ":--") -> str:
    """A Markdown table: the first column to the left, the ``last`` as this says, numbers between to the right."""
    align = [":--", *("--:" for _ in head[2:]), last]
    return "\n".join(f"| {' | '.join(map(escaped, row))} |" for row in (head, align, *rows))


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("xaimed_reports"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own: list[Any] = [seconds, byte_count, number, times, mean, median, escaped, table]
    for function in own:
        found.filters[function.__name__] = function
    found.filters["fixed"] = format
    return found


def render(name: str, **values: Any) -> str:
    """The template ``name`` with its values. A value that the template names and nobody gave raises an error."""
    return _environment().get_template(name).render(**values)


def markdown_page(name: str, **values: Any) -> str:
    """A template of Markdown: as `render`, with one empty line wherever the template leaves several."""
    return re.sub(r"\n{3,}", "\n\n", render(name, **values)).strip()


def paragraphs(name: str, **values: Any) -> list[str]:
    """The paragraphs of a template of prose, each on one line: a line ``---`` parts them, other breaks are spaces."""
    parts = render(name, **values).split("\n---\n")
    return [" ".join(part.split()) for part in parts if part.strip()]

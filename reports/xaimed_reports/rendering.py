"""Fill in the templates: every sentence and page of a report is text in ``templates/``, its numbers come from here."""

from __future__ import annotations

from functools import cache
from statistics import mean, median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from xaimed_reports import format as written


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("xaimed_reports"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = (written.seconds, written.byte_count, written.number, written.times, mean, median)
    found.filters |= {function.__name__: function for function in own}
    found.filters["fixed"] = format
    return found


def render(name: str, **values: Any) -> str:
    """The template ``name`` with its values. A value that the template names and nobody gave raises an error."""
    return _environment().get_template(name).render(**values)


def paragraphs(name: str, **values: Any) -> list[str]:
    """The paragraphs of a template of prose, each on one line: a line ``---`` parts them, other breaks are spaces."""
    parts = render(name, **values).split("\n---\n")
    return [" ".join(part.split()) for part in parts if part.strip()]

"""A profile card as Markdown: one section for each part, by the template ``card.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from xaimed_reports.compare.sides import LOADED_SHARE
from xaimed_reports.format import versions
from xaimed_reports.profile.card import PARTS, Card, Taken
from xaimed_reports.rendering import markdown_page, table
from xaimed_reports.store.devices import device_name

COUNTED_S = 1.0
"""The machine's counters tick in hundredths of a second: over less than this they say nothing about other processes."""


def card_markdown(card: Card, *, pictures: bool = False) -> str:
    """The whole card. ``pictures``: whether the rooflines lie beside the Markdown."""
    taken = {part: card.taken[part] for part in PARTS if part in card.taken}
    return markdown_page(
        "card.md",
        card=card,
        pictures=pictures,
        device=device_name(card.machine),
        versions=versions(card.machine),
        grid=_grid,
        missing=_missing,
        taken=taken,
        busy={part: how for part, how in taken.items() if _was_disturbed(how)},
    )


def _grid(rows: Iterable[Any], cell: Callable[[Any], str], down: str, across: str, corner: str = "") -> str:
    """A table of the rows' cells: the values of one field down, those of another across."""
    found = {(str(getattr(row, down)), str(getattr(row, across))): cell(row) for row in rows}
    names, columns = (dict.fromkeys(key[i] for key in found) for i in (0, 1))
    return table(
        ((name, *(found.get((name, column), "-") for column in columns)) for name in names),
        (corner, *columns),
        last="--:",
    )


def _missing(rows: Iterable[Any]) -> dict[str, list[str]]:
    """Why something is missing, each reason once, and what it is."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.reason:
            found.setdefault(row.reason, {})[getattr(row, "method", None) or row.what] = None
    return {why: [*names] for why, names in found.items()}


def _was_disturbed(how: Taken) -> bool:
    share = how.conditions.others_share
    return share is not None and share > LOADED_SHARE and how.seconds > COUNTED_S

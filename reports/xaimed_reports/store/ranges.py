"""What a stored number can be: asked of every record that is read."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, cast

ROUNDED = 1e-6
"""By how much a share may miss its range for being rounded."""


def need_within(record: object, low: float, high: float, *names: str) -> None:
    """Raise ValueError unless each field, or every number in it, lies in the range; None is no number."""
    for name in names:
        found: Any = getattr(record, name)
        values = cast("Iterable[Any]", found) if isinstance(found, tuple) else (found,)
        if all(value is None or low <= value <= high for value in values):
            continue
        raise ValueError(
            f"{name} must lie between {low:g} and {high:g}"
            if high < inf
            else f"{name} must not be {'negative' if low == 0 else f'below {low:g}'}"
        )


def need_shares(record: object, *names: str) -> None:
    """Raise ValueError unless each field, or every number in it, lies between 0 and 1."""
    for name in names:
        need_within(record, -ROUNDED, 1 + ROUNDED, name)

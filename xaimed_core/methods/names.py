"""Methods by what a caller types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, cast

from xaimed_core.methods.method import Method


def method_of(name: str, table: Mapping[str, Method]) -> Method:
    """The method of that name, or of one in another: ``sess(layercam)``.

    Raises ValueError that lists the names, with the nearest first.
    """
    if isinstance(name, str) and name in table:  # pyright: ignore[reportUnnecessaryIsInstance]
        return table[name]
    if isinstance(name, str) and (inside := re.fullmatch(r"([^()]+)\((.+)\)", name)):  # pyright: ignore[reportUnnecessaryIsInstance]
        return method_of(inside[1], table).over(method_of(inside[2], table))
    spelled = {
        way: m.name
        for m in table.values()
        for way in filter(None, (m.name, m.name.replace("+", "p"), m.oracle.lower()))
    }
    close = get_close_matches(str(name).lower().replace("-", "").replace("_", ""), spelled, n=1)
    hint = f"did you mean {spelled[close[0]]!r}? The" if close else "the"
    raise ValueError(f"no CAM method {name!r}; {hint} methods are {', '.join(table)}")


def names_of(methods: Any) -> tuple[str, ...]:
    """The names in ``methods``, one or several, each once. Raises TypeError for anything else."""
    listed = (methods,) if isinstance(methods, str) else methods
    if not isinstance(listed, Iterable) or not all(
        isinstance(name, str) for name in cast("Iterable[Any]", listed)
    ):
        raise TypeError(f'methods must be a name, e.g. "xgradcam", or a list of names, got {methods!r:.60}')
    return tuple(dict.fromkeys(listed))

"""Which of xaimed's own files a JSON is, so that one given to the wrong command is named with the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from xaimed_reports.store.jsonform import UnreadableError, read_object

Kind = Literal[
    "run", "card", "floor", "trial", "static", "data", "evaluation", "training", "simulation", "commits"
]

WORDS: dict[Kind, str] = {
    "run": "a stored run: xaimed report shows it, xaimed compare judges two",
    "card": "a profile card: xaimed report shows it, xaimed compare sets two side by side",
    "floor": "a machine's floor: give it to xaimed compare as --floor-file",
    "trial": "a trial of the gate: xaimed trial reads it",
    "static": "figures of compiled kernels: xaimed profile --static compares them",
    "evaluation": "what maps are worth, found by xaimed evaluate: xaimed report shows it",
    "training": "how a network was trained, as xaimed train writes it",
    "simulation": "how often simulated histories alarm, as a test of xaimed's writes it",
    "commits": "which of ten commits check and bisect named, as a test of xaimed's writes it",
    "data": "a survey of a folder of images, as xaimed data --json writes it",
}
"""What each is, and who reads it."""

LARGEST = 4 * 2**20
"""Bytes: a hundred times what a profile card takes."""

_FIELDS: dict[Kind, frozenset[str]] = {
    "run": frozenset(("xaimed", "benchmarks")),
    "card": frozenset(("machine", "subject", "taken", "schema")),
    "floor": frozenset(("floor",)),
    "trial": frozenset(("trial",)),
    "evaluation": frozenset(("evaluation",)),
    "training": frozenset(("settings", "scores")),
    "simulation": frozenset(("histories", "alarmed_without_step")),
    "commits": frozenset(("check_names", "bisect_names")),
    "data": frozenset(("digest", "classes", "counts", "findings")),
}


def kind_of(data: dict[str, Any]) -> Kind | None:
    """Which file of xaimed's holds this object; None for any other."""
    for kind, fields in _FIELDS.items():
        if fields <= data.keys():
            return kind
    rows = data.values()
    return (
        "static"
        if data and all(isinstance(r, dict) and {"figures", "kernels"} <= r.keys() for r in rows)
        else None
    )


def file_kind(path: Path) -> Kind | None:
    """Which file of xaimed's this is; None for any other, for one that cannot be read, and for one too large for all
    but a stored run.
    """
    try:
        return kind_of(read_object(path)) if path.stat().st_size < LARGEST else None
    except (UnreadableError, OSError):
        return None


def named(data: dict[str, Any], otherwise: str, *, wanted: Kind | None = None) -> str:
    """What the object is, as the end of a sentence that begins with its file's name.

    ``otherwise``: the end for any other object, and for a damaged one of the kind that is ``wanted``.
    """
    kind = kind_of(data)
    return otherwise if kind in (None, wanted) else f"this is {WORDS[kind]}"

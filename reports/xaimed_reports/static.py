"""What the compiler made of every kernel: stored per compiler, and gated exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from .jsonform import UnreadableError

Facts = Mapping[str, int]
"""Figures of one kernel on one target: registers, spilled_bytes, shared_bytes, instructions, warps."""


def load_static(path: Path, compiler: str) -> dict[str, Facts] | None:
    """The accepted figures of this compiler ("triton 3.8.0, ptxas 12.9"); None where none were accepted yet."""
    if not path.exists():
        return None
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableError(f"{path.name}: not JSON") from error
    if not isinstance(stored, dict):
        raise UnreadableError(f"{path.name}: not a static profile")
    return cast("dict[str, dict[str, Facts]]", stored).get(compiler)


def store_static(path: Path, compiler: str, found: Mapping[str, Facts]) -> None:
    """Accept these figures for this compiler; those of others stay."""
    stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    stored[compiler] = {name: dict(facts) for name, facts in sorted(found.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(stored.items())), indent=1) + "\n", encoding="utf-8")


def static_changes(accepted: Mapping[str, Facts], found: Mapping[str, Facts]) -> list[str]:
    """Every difference in one line each: a kernel that came or went, or a figure that moved."""
    lines = [f"new: {name}" for name in found if name not in accepted]
    lines += [f"gone: {name}" for name in accepted if name not in found]
    for name in accepted.keys() & found.keys():
        moved = [
            f"{figure} {accepted[name].get(figure)} -> {value}"
            for figure, value in found[name].items()
            if accepted[name].get(figure) != value
        ]
        lines += [f"changed: {name}: {', '.join(moved)}"] if moved else []
    return sorted(lines)

"""The journal: every finished case is on disk before the next begins, so a crash loses none.

JSON lines: the run's head first, then ``begin`` (a case starts), ``row`` (a row is done) and ``interrupt`` lines (the
user ended the run during this case).
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, final

from xaimed_reports.store.jsonform import UnreadableError, to_json
from xaimed_reports.store.older import row_from, run_from
from xaimed_reports.store.rows import Row, Run


@final
class Journal:
    """Writes one run's journal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, head: Run) -> None:
        """Begin anew: what an earlier run left under this name is replaced."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(_line({"run": to_json(dataclasses.replace(head, rows=()))}), encoding="utf-8")

    def begin(self, key: str) -> None:
        """Note that a case begins, so that a later run knows which one the process died in."""
        self._append({"begin": key})

    def interrupt(self, key: str) -> None:
        """Note that the user ended the run during a case, so that a later run measures it."""
        self._append({"interrupt": key})

    def add(self, row: Row) -> None:
        """Store one finished row."""
        self._append({"row": to_json(row)})

    def _append(self, entry: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(entry))
            file.flush()
            os.fsync(file.fileno())


@final
@dataclasses.dataclass(frozen=True)
class Recovered:
    """What a journal holds: the run so far, and the case during which the process died, if any."""

    run: Run
    unfinished: str | None


def recover(text: str) -> Recovered:
    """Read a journal. A last line cut short is left out. Raises UnreadableError."""
    entries = _entries(text)
    if not entries or not isinstance(entries[0].get("run"), dict):
        raise UnreadableError("not a journal of xaimed: its first line holds no run")
    stored = entries[0]["run"]
    head = run_from(stored, [], "line 1.run")
    rows: list[Row] = []
    begun: str | None = None
    for i, entry in enumerate(entries[1:], 2):
        if "row" in entry:
            rows.append(row_from(entry["row"], stored["schema"], f"line {i}.row"))
        if isinstance(entry.get("begin"), str):
            begun = entry["begin"]
        if "interrupt" in entry:
            begun = None
    done = {row.case.key for row in rows}
    return Recovered(dataclasses.replace(head, rows=tuple(rows)), begun if begun not in done else None)


def _entries(text: str) -> list[dict[str, Any]]:
    lines = [line for line in text.splitlines() if line.strip()]
    entries: list[dict[str, Any]] = []
    for i, line in enumerate(lines):
        try:
            entry: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            if i < len(lines) - 1 or i == 0:
                raise UnreadableError(f"line {i + 1}: not JSON, or cut short") from error
            break
        if not isinstance(entry, dict):
            raise UnreadableError(f"line {i + 1}: not an object")
        entries.append(entry)
    return entries


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, allow_nan=False) + "\n"

"""The journal: every finished case is on disk before the next begins, so that no end of the process loses one.

JSON lines, only ever appended: the run's head, then for each case ``begin``, a ``row`` for each of its arms, and
``end``. Rows without an ``end`` are of a case that was not finished: they do not count. ``interrupt`` says that the
user ended the run during a case. A resumed run goes on in the same file.

History of the format (``journal`` in the head's line):
    1  without ``end`` lines: every row counts.
    2  a case counts from its ``end`` line on.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, final

from xaimed_reports.store.jsonform import UnreadableError, parse, to_json
from xaimed_reports.store.older import known_schema, row_from, run_from
from xaimed_reports.store.rows import Row, Run
from xaimed_reports.store.writing import Held

FORMAT = 2


@final
@dataclasses.dataclass(frozen=True)
class Recovered:
    """What a journal holds: the run with the rows of its finished cases, and how often each other case killed it."""

    run: Run
    killed: dict[str, int]
    """By case key, how often the process ended during the case without a word."""
    size: int
    """Bytes of the file that are whole lines of a journal; what follows was cut short."""
    format: int = FORMAT


@final
class Journal:
    """Writes one run's journal, and keeps every other process from doing so until it is closed or ends.

    Raises UnusableError where another process writes it; every method raises OSError where the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = Held(path)

    def start(self, head: Run) -> None:
        """Begin anew: what an earlier run left under this name is gone."""
        self._held.file.truncate(0)
        self._append({"run": to_json(dataclasses.replace(head, rows=())), "journal": FORMAT})

    def go_on(self, found: Recovered) -> None:
        """Go on after what was recovered from this file; what follows it, a line cut short, is gone."""
        self._held.file.truncate(found.size)
        self._held.file.write(b"\n")  # an empty line, unless the last one lacks its end

    def begin(self, key: str) -> None:
        """Note that a case begins, so that a later run knows which one the process died in."""
        self._append({"begin": key})

    def interrupt(self, key: str) -> None:
        """Note that the user ended the run during a case, so that a later run measures it."""
        self._append({"interrupt": key})

    def add(self, row: Row) -> None:
        """Store one row of the case that was begun."""
        self._append({"row": to_json(row)})

    def end(self, key: str) -> None:
        """Note that all rows of a case are stored: from now on it is finished."""
        self._append({"end": key})

    def close(self) -> None:
        """Let others write the file."""
        self._held.close()

    def _append(self, entry: dict[str, Any]) -> None:
        self._held.file.write((json.dumps(entry, allow_nan=False) + "\n").encode())
        self._held.file.flush()
        os.fsync(self._held.file.fileno())


def recover(text: str) -> Recovered:
    """Read a journal. A last line cut short is left out. Raises UnreadableError."""
    entries, size = _entries(text)
    if not entries or not isinstance(entries[0].get("run"), dict):
        raise UnreadableError("not a journal of xaimed: its first line holds no run")
    stored = entries[0]["run"]
    head = run_from(stored, [], "line 1.run")
    written: Any = entries[0].get("journal", 1)
    if type(written) is not int or not 1 <= written <= FORMAT:
        raise UnreadableError(
            f"a journal of format {str(written)[:40]}; this xaimed reads up to {FORMAT}: upgrade it"
        )
    schema = known_schema(stored.get("schema"), "line 1.run")
    finished: dict[str, list[Row]] = {}
    pending: list[Row] = []
    killed: Counter[str] = Counter()
    for i, entry in enumerate(entries[1:], 2):
        if "row" in entry:
            pending.append(row_from(entry["row"], schema, f"line {i}.row"))
            if written == 1:
                finished.setdefault(pending[-1].case.key, []).append(pending[-1])
        match entry:
            case {"begin": str(key)}:
                pending = []
                killed[key] += 1
            case {"interrupt": str(key)}:
                killed[key] -= 1
            case {"end": str(key)}:
                _need_whole(key, pending, finished, f"line {i}.end")
                finished[key] = pending
            case _:
                pass
    rows = tuple(row for rows in finished.values() for row in rows)
    left = {key: count for key, count in killed.items() if count > 0 and key not in finished}
    return Recovered(dataclasses.replace(head, rows=rows), left, size, written)


def _need_whole(key: str, rows: list[Row], finished: dict[str, list[Row]], where: str) -> None:
    """Raise UnreadableError unless these are the rows of this case, which was not finished before."""
    if not rows or {row.case.key for row in rows} != {key}:
        raise UnreadableError(f"{where}: {key[:80]!r} ends without rows of its own before it")
    if key in finished:
        raise UnreadableError(f"{where}: {key[:80]!r} ends twice")


def _entries(text: str) -> tuple[list[dict[str, Any]], int]:
    """The lines as objects, and the bytes that they take."""
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    entries: list[dict[str, Any]] = []
    size = 0
    for i, line in enumerate(lines):
        try:
            entry = parse(line) if line.strip() else {}
        except UnreadableError as error:
            if i < len(lines) - 1 or i == 0:
                raise UnreadableError(f"line {i + 1}: not JSON, or cut short") from error
            break
        if not isinstance(entry, dict):
            raise UnreadableError(f"line {i + 1}: not an object")
        size += len(line.encode(errors="surrogatepass")) + 1
        entries.append(entry)
    return entries, min(size, len(text.encode(errors="surrogatepass")))

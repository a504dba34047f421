"""The history's file: SQLite, because it is in Python, takes several writers, and survives a kill in mid-write.

Tables ``runs`` and ``points`` only grow: triggers refuse to change or delete a line.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, final

from xaimed_reports.history.points import Entry, Point
from xaimed_reports.store.jsonform import UnreadableError, UnusableError, from_json, parse
from xaimed_reports.store.writing import resolved

FORMAT = 1
"""Kept as SQLite's user_version."""
APPLICATION = 0x78616964
"""Kept as SQLite's application_id ("xaid"), so that another program's database is refused."""
PATIENCE_S = 60.0
"""How long a writer waits for another one."""

_TABLES = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, started_utc TEXT NOT NULL, revision TEXT NOT NULL,
  machine TEXT NOT NULL, environment TEXT NOT NULL, figures TEXT NOT NULL, broken TEXT NOT NULL
) STRICT;
CREATE TABLE points (
  run INTEGER NOT NULL REFERENCES runs (id), row TEXT NOT NULL, metric TEXT NOT NULL,
  value REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY (run, row, metric)
) STRICT, WITHOUT ROWID;
""" + "".join(
    f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'a history only grows'); END;\n"
    for table in ("runs", "points")
    for verb in ("UPDATE", "DELETE")
)

_POINT = [field.name for field in fields(Point)]
_PAIRS = list[tuple[str, str]]


@final
@dataclass(frozen=True)
class Stored:
    """An entry with its place in the history."""

    number: int
    """Counts from 1 in the order in which runs were added."""
    entry: Entry
    digest: str
    """As it was when the run was added."""


def add(path: Path, new: Entry) -> int | None:
    """Append a run to the history in ``path``, which is made where missing.

    All of the run is kept or nothing, whatever ends the process. Returns its number, or None where this very run is
    already there. Raises UnreadableError where the file is no history, UnusableError where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path, write=True) as db, db:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT 1 FROM runs WHERE digest = ?", (new.digest,)).fetchone():
            return None
        number = db.execute(
            "INSERT INTO runs (digest, started_utc, revision, machine, environment, figures, broken) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (new.digest, new.started_utc, new.revision, new.machine, _text(new.environment), new.figures,
             _text([[each.row, each.status] for each in new.broken])),
        ).lastrowid  # fmt: skip
        db.executemany(
            "INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(number, p.row, p.metric, p.value, p.low, p.high, p.revision) for p in new.points],
        )
        return number


def read(path: Path) -> tuple[Stored, ...]:
    """All runs of a history, in the order in which they were added.

    Raises UnreadableError where it is none, and where a run is not what was added.
    """
    if not path.is_file():
        raise UnreadableError(f"{path}: no such history; begin one with: xaimed history add RUN.json")
    found, wrong = _read(path)
    if wrong:
        raise UnreadableError(f"{path}: {wrong[0]}; see: xaimed history verify")
    return found


def faults(path: Path) -> list[str]:
    """What is wrong with a history: damaged pages, runs that are not what was added. Empty where nothing is."""
    with _opened(path, write=False) as db:
        found = [f"SQLite: {said}" for (said,) in db.execute("PRAGMA integrity_check") if said != "ok"]
    return found or _read(path)[1]


def heads(history: Sequence[Stored]) -> list[str]:
    """The chain's head after each run: SHA-256 of the head before and the run's digest.

    A history that is whole up to a run has the head that it had then, whatever was added later. The file cannot hold
    what would show that its newest runs were removed, so that a head has to be kept elsewhere.
    """
    found: list[str] = []
    for run in history:
        found.append(hashlib.sha256("".join((*found[-1:], run.digest)).encode()).hexdigest())
    return found


def _read(path: Path) -> tuple[tuple[Stored, ...], list[str]]:
    """The runs that are as they were added, and what is wrong with the others."""
    with _opened(path, write=False) as db:
        points: dict[int, list[Any]] = {}
        for run, *rest in db.execute(
            "SELECT run, row, metric, value, low, high, revision FROM points ORDER BY run, row, metric"
        ):
            points.setdefault(run, []).append(dict(zip(_POINT, rest, strict=True)))
        runs: Sequence[tuple[Any, ...]] = db.execute(
            "SELECT id, digest, started_utc, revision, machine, environment, figures, broken FROM runs ORDER BY id"
        ).fetchall()
    found: list[Stored] = []
    wrong = [
        f"run {i} is gone" for i in sorted({*range(1, len(runs) + 1), *points} - {run[0] for run in runs})
    ]
    for run in runs:
        try:
            stored = _stored(run, points.get(run[0], []))
            whole = stored.entry.digest == stored.digest
        except ValueError:
            whole = False
        else:
            found.append(stored)
        if not whole:
            wrong.append(f"run {run[0]} ({run[2]!s:.32}) is not what was added")
    return tuple(found), wrong


def _stored(run: tuple[Any, ...], points: Sequence[Any]) -> Stored:
    """Raises ValueError where a text or a number is none."""
    number, digest, started_utc, revision, machine, environment, figures, broken = run
    if not all(isinstance(text, str) for text in (environment, broken)):
        raise ValueError("no text")
    held = {
        "revision": revision,
        "started_utc": started_utc,
        "machine": machine,
        "environment": parse(environment),
        "points": points,
        "broken": [{"row": row, "status": status} for row, status in from_json(_PAIRS, parse(broken))],
        "figures": figures,
    }
    return Stored(number, from_json(Entry, held), digest)


def _text(data: object) -> str:
    return json.dumps(data, sort_keys=True, ensure_ascii=False)


@contextmanager
def _opened(path: Path, *, write: bool) -> Generator[sqlite3.Connection]:
    """A connection in which each statement outside BEGIN stands alone. SQLite's errors become one line.

    One that only reads may still have to take back what a kill left half written, where it is allowed to.
    """
    allowed = os.access(path, os.W_OK) and os.access(resolved(path).parent, os.W_OK)
    mode = "rwc" if write else "rw" if allowed else "ro"
    try:
        address = f"{resolved(path).as_uri()}?mode={mode}"
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE_S, isolation_level=None)) as db:
            db.execute(f"PRAGMA query_only = {int(not write)}")
            _need_history(db, path, write)
            yield db
    except UnicodeDecodeError as error:  # of SQLite's own message about a damaged page
        raise UnreadableError(f"{path}: not a history of xaimed, or damaged") from error
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise UnusableError(f"{path}: {error}") from error
        raise UnreadableError(f"{path}: not a history of xaimed, or damaged ({error})") from error


def _need_history(db: sqlite3.Connection, path: Path, write: bool) -> None:
    """Raise UnreadableError for another program's file or a newer format; make the tables of a new one."""
    if write:
        db.execute("BEGIN IMMEDIATE")  # two processes may find the same file new
    try:
        made = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not made and write:
            for statement in (f"PRAGMA application_id = {APPLICATION}", f"PRAGMA user_version = {FORMAT}"):
                db.execute(statement)
            for statement in _statements(_TABLES):
                db.execute(statement)
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
    finally:
        if write:
            db.execute("COMMIT")
    if not made and not write:
        raise UnreadableError(
            f"{path}: empty, no history of xaimed yet; begin it with: xaimed history add RUN.json"
        )
    if application != APPLICATION:
        raise UnreadableError(f"{path}: a database, but no history of xaimed")
    if version != FORMAT:
        whose = "written by a newer xaimed" if version > FORMAT else "not a history of xaimed, or damaged"
        raise UnreadableError(f"{path}: {whose} (format {version}, this one reads {FORMAT})")


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one, for `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

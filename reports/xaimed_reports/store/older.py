"""Stored runs and rows of every schema, read as today's."""

from __future__ import annotations

import re
from typing import Any, cast

from xaimed_reports.store.jsonform import UnreadableError, from_json
from xaimed_reports.store.records import SCHEMA
from xaimed_reports.store.rows import Row, Run

_POOLED = re.compile("the layer is only pooled, so that (.+) give the same map")


def run_from(head: dict[str, Any], rows: list[Any], where: str) -> Run:
    """The run that a stored head and rows of its schema hold. Raises UnreadableError.

    Its own ``schema`` is today's, for so are its rows.
    """
    schema = known_schema(head.get("schema"), where)
    found = [_upgraded(row, schema, f"{where}.rows[{i}]") for i, row in enumerate(rows)]
    return from_json(Run, {**head, "rows": found, "schema": SCHEMA}, where)


def row_from(row: Any, schema: int, where: str) -> Row:
    """One stored row of a known schema. Raises UnreadableError."""
    return from_json(cast("type[Row]", Row), _upgraded(row, schema, where), where)


def known_schema(schema: Any, where: str) -> int:
    """The number of a schema that is read here. Raises UnreadableError."""
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise UnreadableError(
            f"{where}.schema must be a whole number from 1 to {SCHEMA}, got {repr(schema)[:40]}"
        )
    if schema > SCHEMA:
        raise UnreadableError(
            f"written by a newer xaimed (schema {schema}); this one reads up to {SCHEMA}: upgrade it"
        )
    return schema


def _upgraded(row: Any, schema: int, where: str) -> Any:
    """A stored row as schema 3 has it; what is no row at all is left for msgspec to refuse.

    Before schema 3 there was one kind of row, and the notes held what ran as a sentence.
    A row that names a schema of its own has that of its run. Raises UnreadableError for another.
    """
    if not isinstance(row, dict):
        return row
    held = cast("dict[str, Any]", row)
    if known_schema(held.get("schema", schema), where) != schema:
        raise UnreadableError(f"{where}.schema is {held['schema']}, but its run is of schema {schema}")
    if schema >= 3:
        return held
    if held.get("timing") is None:
        return held | {"kind": "untimed"}
    return held | {"kind": "timed", "ran": _ran(held.get("notes"))}


def _ran(notes: Any) -> dict[str, Any] | None:
    for note in map(str, cast("list[Any]", notes) if isinstance(notes, list) else []):
        pooled = _POOLED.search(note)
        if pooled is not None:
            return {"kind": "one pass", "same_as": pooled[1].split(" and ")}
        if ": closed-form: " in note:
            return {"kind": "closed-form"}
    return None

"""Tables of images as HAM10000 has one: CSV with the columns ``image_id``, ``dx`` and perhaps ``lesion_id``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final


class Row(NamedTuple):
    """An image's name (path, file name or stem), its class, and its lesion, empty where the table tells none."""

    image_id: str
    label: str
    lesion: str


@final
@dataclass(frozen=True)
class Table:
    """A file's rows that name an image and a class, None where it is no such table, and what was odd about it."""

    name: str
    rows: tuple[Row, ...] | None
    findings: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read a CSV file of any common encoding. Nothing is raised: what cannot be read is a finding."""
    if not path.is_file():
        return Table(path.name, None, (f"{path.name} is no regular file and was not read",))
    try:
        text, said = _text(path.read_bytes())
        rows = csv.DictReader(text.splitlines(keepends=True))
        if not {"image_id", "dx"} <= set(rows.fieldnames or ()):
            return Table(path.name, None, ())
        found = [(rows.line_num, Row(*((row.get(k) or "").strip() for k in _COLUMNS))) for row in rows]
    except (OSError, csv.Error) as error:
        return Table(path.name, None, (f"{path.name} could not be read: {error}",))
    blank = [f"line {line}" for line, row in found if not (row.image_id and row.label)]
    findings = [f"{path.name} {said}"] if said else []
    if blank:
        findings.append(f"{len(blank)} rows of {path.name} name no image or no class{first(blank)}")
    return Table(path.name, tuple(row for _, row in found if row.image_id and row.label), tuple(findings))


_COLUMNS = ("image_id", "dx", "lesion_id")


def _text(raw: bytes) -> tuple[str, str]:
    """The file's text, and what to say of its encoding."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace"), ""
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace"), "is not in UTF-8 and was read as Windows-1252"


def first(names: Sequence[str]) -> str:
    """The first names of a finding, for its end."""
    return f" (first: {', '.join(names[:3])})" if names else ""

"""Which class each image of a folder belongs to, and what its user must know about that."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("test", "testing"), "testing"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}


def read_labels(folder: Path, images: Mapping[Path, Path]) -> tuple[dict[Path, str], list[str]]:
    """The class of every image that has one, and findings; no classes where the folder tells none.

    ``images``: their paths, each with the same path below ``folder``. CSV files with the columns ``image_id`` and
    ``dx`` decide where they name an image; the folders that the images lie in decide otherwise.
    """
    by_folder, folder_findings = _from_folders(images)
    tables = {table.name: _rows(table) for table in sorted(folder.glob("*.csv"))}
    rows = [row for table in tables.values() for row in table or ()]
    by_table, table_findings = _from_rows(rows, images, ", ".join(name for name in tables if tables[name]))
    if by_table:
        return by_table, [*table_findings, *_contradictions(by_table, by_folder), *_alike(by_table)]
    if by_folder:
        return by_folder, [*table_findings, *folder_findings, *_alike(by_folder)]
    unread = [name for name, table in tables.items() if table is None]
    said = f"{', '.join(unread)} tells no classes: it has no columns image_id and dx, separated by commas"
    return {}, [*table_findings, *folder_findings, *([said] if unread else [])]


# ---------------------------------------------------------------------------------------------- class folders
def _from_folders(images: Mapping[Path, Path]) -> tuple[dict[Path, str], list[str]]:
    """Each image's innermost folder that is not named after a split; nothing where there is only one."""
    around = {
        p: [part for part in below.parts[:-1] if part.lower() not in SPLITS] for p, below in images.items()
    }
    labels = {p: parts[-1] for p, parts in around.items() if parts}
    above = sorted({parts[-2] for parts in around.values() if len(parts) > 1})
    findings = (
        [f"folders above the innermost ({_some(above)}) were not read as classes"] if len(above) > 1 else []
    )
    if len(set(labels.values())) < 2:
        return {}, findings
    if len(labels) < len(images):
        beside = len(images) - len(labels)
        findings.append(f"{beside} images lie beside the class folders, not in one; they were left out")
    return labels, findings


def _alike(labels: Mapping[Path, str]) -> list[str]:
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for label in labels.values():
        spellings["".join(filter(str.isalnum, label.casefold()))].add(label)
    return [
        f"the classes {' and '.join(sorted(names))} differ in spelling alone and were kept apart"
        for names in spellings.values()
        if len(names) > 1
    ]


# ----------------------------------------------------------------------------------------------------- tables
def _rows(table: Path) -> list[tuple[str, str]] | None:
    """Pairs of image and class; None for a table without these columns."""
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        rows = csv.DictReader(lines)
        if not {"image_id", "dx"} <= set(rows.fieldnames or ()):
            return None
        return [((row["image_id"] or "").strip(), (row["dx"] or "").strip()) for row in rows]


def _from_rows(
    rows: Iterable[tuple[str, str]], images: Mapping[Path, Path], tables: str
) -> tuple[dict[Path, str], list[str]]:
    """The class of every image that the rows name by path, name or stem, if they name it alone and with one class."""
    classes: defaultdict[str, set[str]] = defaultdict(set)
    for image_id, dx in rows:
        if image_id and dx:
            classes[image_id].add(dx)
    if not classes:
        return {}, []
    called = {
        p: (below.as_posix(), below.with_suffix("").as_posix(), p.name, p.stem) for p, below in images.items()
    }
    bearers = Counter(name for names in called.values() for name in set(names))
    labels: dict[Path, str] = {}
    left_out: Counter[str] = Counter()
    for path, names in called.items():
        rows_of = [name for name in names if name in classes]
        own = {label for name in rows_of if bearers[name] == 1 for label in classes[name]}
        if not rows_of:
            left_out["have no row"] += 1
        elif not own:
            left_out["share their name with another, so that one row fits several"] += 1
        elif len(own) > 1:
            left_out["have rows of different classes"] += 1
        else:
            (labels[path],) = own
    then = "they were left out" if labels else "no class was read from it"
    return labels, [f"{n} images {why} in {tables}; {then}" for why, n in left_out.items()]


def _contradictions(labels: Mapping[Path, str], by_folder: Mapping[Path, str]) -> list[str]:
    """Images that a table gives one class and their folder another of the same classes."""
    known = set(labels.values())
    count = sum(by_folder.get(p, label) in known - {label} for p, label in labels.items())
    return [f"{count} images lie in the folder of another class than the table gives them"] if count else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def split_of_path(below: Path) -> str | None:
    """The split that a folder in this path is named after: training, testing, validation, or None."""
    return next((SPLITS[part.lower()] for part in below.parts[:-1] if part.lower() in SPLITS), None)

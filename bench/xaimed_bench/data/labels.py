"""Which class each image of a folder belongs to, and what its user must know about that."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from xaimed_bench.data.tables import Row, Table, first, read_table

SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("test", "testing"), "testing"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}


@final
@dataclass(frozen=True)
class Labels:
    """The class of every image that has one, its group (a table's ``lesion_id``) where that is known, and findings."""

    classes: dict[Path, str]
    groups: dict[Path, str]
    findings: list[str]


def read_labels(folder: Path, images: Mapping[Path, Path]) -> Labels:
    """What the folder tells of its images; no classes where it tells none.

    ``images``: their paths, each with the same path below ``folder``. CSV files with the columns ``image_id`` and
    ``dx`` decide where they name an image; the folders that the images lie in decide otherwise.
    """
    by_folder, folder_findings = _from_folders(images)
    tables = [read_table(path) for path in sorted(folder.glob("*.csv"))]
    by_table = _from_tables([table for table in tables if table.rows is not None], images)
    said = [*(finding for table in tables for finding in table.findings), *by_table.findings]
    if by_table.classes:
        said += [*_contradictions(by_table.classes, by_folder, images), *_alike(by_table.classes)]
        return Labels(by_table.classes, by_table.groups, said)
    if by_folder:
        return Labels(by_folder, {}, [*said, *folder_findings, *_alike(by_folder)])
    unread = ", ".join(table.name for table in tables if table.rows is None)
    other = f"{unread} tells no classes: it has no columns image_id and dx, separated by commas"
    return Labels({}, {}, [*said, *folder_findings, *([other] if unread else [])])


# ---------------------------------------------------------------------------------------------- class folders
def _from_folders(images: Mapping[Path, Path]) -> tuple[dict[Path, str], list[str]]:
    """Each image's innermost folder that is no split's, nor YOLO's ``images``; nothing where there is only one."""
    around = {
        p: [part for part in below.parts[:-1] if part.lower() not in (*SPLITS, "images")]
        for p, below in images.items()
    }
    labels = {p: parts[-1] for p, parts in around.items() if parts}
    above = sorted({parts[-2] for parts in around.values() if len(parts) > 1})
    named = ", ".join(above[:3]) + ", ..." * (len(above) > 3)
    findings = [f"folders above the innermost ({named}) were not read as classes"] if len(above) > 1 else []
    if len(set(labels.values())) < 2:
        return {}, findings
    if len(labels) < len(images):
        beside = [below.as_posix() for p, below in images.items() if p not in labels]
        findings.append(
            f"{len(beside)} images lie beside the class folders, not in one; they were left out{first(beside)}"
        )
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
def _from_tables(tables: Sequence[Table], images: Mapping[Path, Path]) -> Labels:
    """The class of every image that rows name by path, name or stem, if they name it alone and with one class."""
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in (row for table in tables for row in table.rows or ()):
        rows[row.image_id].append(row)
    if not rows:
        return Labels({}, {}, [])
    called = {
        p: (below.as_posix(), below.with_suffix("").as_posix(), p.name, p.stem) for p, below in images.items()
    }
    bearers = Counter(name for names in called.values() for name in set(names))
    classes: dict[Path, str] = {}
    groups: dict[Path, str] = {}
    left_out: defaultdict[str, list[str]] = defaultdict(list)
    for path, names in called.items():
        own = [row for name in dict.fromkeys(names) if bearers[name] == 1 for row in rows.get(name, ())]
        lesions = {row.lesion for row in own if row.lesion}
        if not any(name in rows for name in names):
            left_out["have no row"].append(names[0])
        elif not own:
            left_out["share their name with another, so that one row fits several"].append(names[0])
        elif len({row.label for row in own}) > 1:
            left_out["have rows of different classes"].append(names[0])
        elif len(lesions) > 1:
            left_out["have rows of different lesions"].append(names[0])
        else:
            classes[path] = own[0].label
            if lesions:
                groups[path] = lesions.pop()
    where = ", ".join(table.name for table in tables if table.rows)
    then = "they were left out" if classes else "no class was read from it"
    said = [f"{len(them)} images {why} in {where}; {then}{first(them)}" for why, them in left_out.items()]
    return Labels(classes, groups, [*said, *_without_files(rows, bearers, set(classes.values()), where)])


def _without_files(
    rows: Mapping[str, Sequence[Row]], names: Container[str], classes: Container[str], where: str
) -> list[str]:
    """Rows that name no image of the folder, and classes that have no other rows."""
    lost = [image_id for image_id in rows if image_id not in names]
    without = sorted({row.label for image_id in lost for row in rows[image_id] if row.label not in classes})
    said = [f"{len(lost):,} rows of {where} name no image of the folder{first(lost)}"] if lost else []
    return said + ([f"no image is of the class {', '.join(without)}, which is in {where}"] if without else [])


def _contradictions(
    labels: Mapping[Path, str], by_folder: Mapping[Path, str], images: Mapping[Path, Path]
) -> list[str]:
    """Images that a table gives one class and their folder another of the same classes."""
    known = set(labels.values())
    wrong = [
        images[p].as_posix() for p, label in labels.items() if by_folder.get(p, label) in known - {label}
    ]
    said = f"{len(wrong)} images lie in the folder of another class than the table gives them{first(wrong)}"
    return [said] if wrong else []


def split_of_path(below: Path) -> str | None:
    """The split that a folder in this path is named after: training, testing, validation, or None."""
    return next((SPLITS[part.lower()] for part in below.parts[:-1] if part.lower() in SPLITS), None)

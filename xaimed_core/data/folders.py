"""What lies in a folder of images: classes, splits, masks, and the defects its user must know."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))
SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "training"),
    **dict.fromkeys(("test", "testing"), "testing"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
}
MASKS = "masks"
_MASK_ENDINGS = ("_segmentation", "_mask")


@final
@dataclass(frozen=True)
class ImageFile:
    """One image in a folder: its class and split as its path tells them, and its mask's file."""

    path: Path
    name: str
    label: str | None
    split: str | None
    mask: Path | None


@final
@dataclass(frozen=True)
class Folder:
    """The images found, sorted by name, the classes in alphabetical order, and the findings."""

    files: tuple[ImageFile, ...]
    classes: tuple[str, ...]
    findings: tuple[str, ...]


def find_images(folder: Path) -> Folder:
    """Look through ``folder`` for jpg, jpeg and png files; nothing is decoded.

    The class of an image is the name of the folder it lies in, whether or not a split (Training, test, val, ...)
    lies between; folders named after a split, or only one folder of images, mean that there are no classes, unless
    a CSV beside them has the columns ``image_id`` and ``dx`` (HAM10000). Files under ``masks/`` are masks: of the image
    with the same stem ("_segmentation" and "_mask" may follow), in a folder of the same name where stems repeat.
    Raises FileNotFoundError, NotADirectoryError, or ValueError where there is no image.
    """
    if not folder.exists():
        raise FileNotFoundError(
            f"no folder at {folder}; give a folder that holds images or one folder per class"
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give the folder that holds it")
    paths = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
    )
    relative = {p: p.relative_to(folder) for p in paths}
    masked = {p: MASKS in (part.lower() for part in relative[p].parts[:-1]) for p in paths}
    masks, images = [p for p in paths if masked[p]], [p for p in paths if not masked[p]]
    if not images:
        raise ValueError(
            f"no image in {folder}: looked for {', '.join(sorted(SUFFIXES))} in it and below; "
            "expected class folders, also below Training/ and Testing/, or images alone"
        )
    labels, label_findings = _labels(folder, images)
    mask_of, mask_findings = _match_masks(images, masks)
    files = tuple(
        ImageFile(p, relative[p].as_posix(), labels.get(p), _split(relative[p]), mask_of.get(p))
        for p in images
        if not labels or p in labels
    )
    classes = tuple(sorted(set(labels.values())))
    return Folder(files, classes, (*label_findings, *mask_findings, *_copies(files)))


def _split(path: Path) -> str | None:
    found = (SPLITS[part.lower()] for part in path.parts[:-1] if part.lower() in SPLITS)
    return next(found, None)


def _labels(folder: Path, images: Sequence[Path]) -> tuple[dict[Path, str], list[str]]:
    """The class of every image that has one; empty where the folder tells no classes."""
    named = {p: p.parent.name for p in images if p.parent != folder and p.parent.name.lower() not in SPLITS}
    if len(set(named.values())) < 2:
        return _labels_from_csv(folder, images)
    beside = len(images) - len(named)
    said = f"{beside} images lie beside the class folders, not in one; they were left out"
    return named, [said] if beside else []


def _labels_from_csv(folder: Path, images: Sequence[Path]) -> tuple[dict[Path, str], list[str]]:
    for table in sorted(folder.glob("*.csv")):
        with table.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines)
            if {"image_id", "dx"} <= set(rows.fieldnames or ()):
                diagnoses = {row["image_id"]: row["dx"] for row in rows}
                named = {p: diagnoses[p.stem] for p in images if p.stem in diagnoses}
                missing = len(images) - len(named)
                said = f"{missing} images have no row in {table.name}; they were left out"
                return named, [said] if missing and named else []
    return {}, []


def _match_masks(images: Sequence[Path], masks: Sequence[Path]) -> tuple[dict[Path, Path], list[str]]:
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    matched: dict[Path, Path] = {}
    lost = 0
    for mask in masks:
        stems = [mask.stem, *(mask.stem.removesuffix(e) for e in _MASK_ENDINGS if mask.stem.endswith(e))]
        fits = [image for stem in stems for image in by_stem.get(stem, ())]
        if len(fits) > 1:
            fits = [image for image in fits if image.parent.name == mask.parent.name]
        if len(fits) == 1:
            matched[fits[0]] = mask
        else:
            lost += 1
    return matched, [f"{lost} masks fit no image, or several, and were left out"] if lost else []


def _copies(files: Sequence[ImageFile]) -> list[str]:
    """Byte-identical files, of which those that cross the splits leak training images into a test."""
    groups = [group for group in _identical(files) if len(group) > 1]
    extra = sum(len(group) - 1 for group in groups)
    if not extra:
        return []
    findings = [
        f"{len(files) - extra:,} of {len(files):,} files are distinct, the rest are byte-identical copies"
    ]
    totals = Counter(file.split for file in files)
    leaking: Counter[str] = Counter()
    for group in groups:
        if any(file.split == "training" for file in group):
            leaking.update(file.split for file in group if file.split in ("testing", "validation"))
    findings += [
        f"{count} of {totals[split]} {split} images are byte-identical to a training image"
        for split, count in sorted(leaking.items())
    ]
    mixed = sum(len({file.label for file in group}) > 1 for group in groups)
    return findings + ([f"{mixed} identical images carry different classes"] if mixed else [])


def _identical(files: Iterable[ImageFile]) -> Iterable[list[ImageFile]]:
    """Files grouped by content; only files of equal size are read."""
    by_size: defaultdict[int, list[ImageFile]] = defaultdict(list)
    for file in files:
        by_size[file.path.stat().st_size].append(file)
    for same_size in by_size.values():
        if len(same_size) == 1:
            continue
        by_content: defaultdict[bytes, list[ImageFile]] = defaultdict(list)
        for file in same_size:
            by_content[hashlib.sha256(file.path.read_bytes()).digest()].append(file)
        yield from by_content.values()

"""What lies in a folder of images: classes, splits, masks, and the defects its user must know."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from xaimed_bench.data.labels import read_labels, split_of_path
from xaimed_bench.data.masks import masks_among, match_masks
from xaimed_bench.data.tables import first

SUFFIXES = frozenset((".jpg", ".jpeg", ".png"))
_UNREAD = frozenset(
    (".bmp", ".dcm", ".gif", ".heic", ".jp2", ".mha", ".nii", ".npy", ".nrrd", ".tif", ".tiff", ".webp")
)  # fmt: skip
"""Images of other formats, which would otherwise be missing without a word."""


@final
@dataclass(frozen=True)
class ImageFile:
    """One image in a folder: its class and split as its path tells them, its mask's file, and a table's lesion."""

    path: Path
    name: str
    label: str | None
    split: str | None
    mask: Path | None
    group: str | None = None


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
    lies between; folders named after a split, or only one folder of images, mean that there are no classes. A CSV in
    ``folder`` with the columns ``image_id`` and ``dx`` (HAM10000) decides instead. Files under ``masks/``, or named
    after an image beside them, are masks: of the image with the same stem ("_segmentation" and "_mask" may follow), in
    folders of the same names where stems repeat. Hidden files and folders are skipped.
    Raises FileNotFoundError, NotADirectoryError, or ValueError where there is no image.
    """
    if not folder.exists():
        raise FileNotFoundError(
            f"no folder at {folder}; give a folder that holds images or one folder per class"
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give the folder that holds it")
    everything, unwalked = _walk(folder)
    found = {p: below for p, below in everything.items() if p.suffix.lower() in SUFFIXES}
    masked = masks_among(found)
    images = {p: below for p, below in found.items() if p not in masked}
    unread = [*unwalked, *_unread(everything)]
    if not images:
        raise ValueError(
            f"no image in {folder}: looked for {', '.join(sorted(SUFFIXES))} in it and below; "
            f"expected class folders, also below Training/ and Testing/, or images alone{'; '.join(['', *unread])}"
        )
    labels = read_labels(folder, images)
    mask_of, mask_findings = match_masks(images, {p: found[p] for p in found if p in masked})
    files = tuple(
        ImageFile(
            p,
            below.as_posix(),
            labels.classes.get(p),
            split_of_path(below),
            mask_of.get(p),
            labels.groups.get(p),
        )
        for p, below in images.items()
        if not labels.classes or p in labels.classes
    )
    classes = tuple(sorted(set(labels.classes.values())))
    said = (*unread, *labels.findings, *_missing_in_splits(files, classes), *mask_findings, *_copies(files))
    return Folder(files, classes, said)


def _walk(folder: Path) -> tuple[dict[Path, Path], list[str]]:
    """Every visible file or folder, each with its path below ``folder``, and what could not be looked through."""
    closed: list[str] = []
    links: list[str] = []
    empty: list[str] = []
    found: list[Path] = []
    for here, folders, files in os.walk(
        folder, onerror=lambda e: closed.append(str(Path(e.filename).relative_to(folder)))
    ):
        names = [name for name in (*folders, *files) if not name.startswith(".")]
        folders[:] = [name for name in folders if name in names]
        found += [Path(here, name) for name in names]
        links += [
            Path(here, name).relative_to(folder).as_posix()
            for name in folders
            if Path(here, name).is_symlink()
        ]
        if not names and Path(here) != folder and Path(here).suffix.lower() not in SUFFIXES:
            empty.append(Path(here).relative_to(folder).as_posix())
    said = {
        "folders could not be opened and were left out": closed,
        "links to folders were not followed": links,
        "folders are empty": empty,
    }
    findings = [f"{len(them)} {what}{first(sorted(them))}" for what, them in said.items() if them]
    return {p: p.relative_to(folder) for p in sorted(found)}, findings


def _unread(paths: Iterable[Path]) -> list[str]:
    others = Counter(p.suffix.lower() for p in paths if p.suffix.lower() in _UNREAD)
    return [
        f"{n} {suffix} files were left out: jpg, jpeg and png are read"
        for suffix, n in sorted(others.items())
    ]


def _missing_in_splits(files: Sequence[ImageFile], classes: Sequence[str]) -> list[str]:
    """Classes that one split has and another has not: spelt differently, or never tested."""
    had: defaultdict[str, set[str | None]] = defaultdict(set)
    for file in files:
        if file.split is not None:
            had[file.split].add(file.label)
    lacking = {split: [c for c in classes if c not in labels] for split, labels in sorted(had.items())}
    return [
        f"no {split} image is of the class {', '.join(names)}" for split, names in lacking.items() if names
    ]


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
        if (
            file.path.is_file()
        ):  # else a link that leads nowhere, or a folder: no image, as decoding will find
            by_size[file.path.stat().st_size].append(file)
    for same_size in by_size.values():
        if len(same_size) == 1:
            continue
        by_content: defaultdict[str, list[ImageFile]] = defaultdict(list)
        for file in same_size:
            if digest := content_digest(file.path):
                by_content[digest].append(file)
        yield from by_content.values()


def content_digest(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None for what cannot be read, or is no regular file."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None

"""Open a folder of images as a set: every image with its class, split, group, mask and boxes."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from xaimed_bench.data.folders import ImageFile, content_digest, find_images
from xaimed_bench.data.sets.boxes import read_boxes, strays
from xaimed_bench.data.sets.carving import carve
from xaimed_bench.data.sets.copies import connected, equal
from xaimed_bench.data.sets.items import Box, ImageSet, Item, Leak, SplitName
from xaimed_bench.data.sets.leaks import Same, compare, describe, drop, find_leaks
from xaimed_bench.data.tables import first

TESTING = 0.2
"""The share of images to test on, where the folder has no split of its own."""

_PATIENT = re.compile(r"(person\d+)_(?:bacteria|virus)_\d+|((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?")
"""Names of the chest set of Kermany et al. The numbers may begin anew in each split."""


def open_set(
    folder: str | Path, *, seed: int = 0, validation: float = 0.15, drop_leaks: bool | Leak = False
) -> ImageSet:
    """The images of ``folder`` as `find_images` finds them, each in a split; no image is kept in memory.

    The folder's own splits hold (Training, test, val, ...). What is missing is carved from training, stratified by
    class, as ``seed`` says: a fifth for testing, then the share ``validation``. Carving divides no group: a lesion,
    a patient, byte-identical images, images that look the same (`xaimed_bench.data.sets.copies`).

    ``drop_leaks`` leaves out images to test or validate on that training holds, too. "bytes", or True: with the same
    bytes, or of the same lesion. "near": also those that look the same. Both are counted in ``findings`` either way.
    Files that cannot be read stay among the items; reading them says why (`stream`).
    Raises FileNotFoundError, NotADirectoryError, or ValueError where there is no image, or for such a ``validation``.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation is a share of the training images, from 0 to below 1; got {validation}")
    folder = Path(folder)
    found = find_images(folder)
    boxes, findings = _boxes(folder, found.files)
    sides, misplaced = _own_splits(found.files)
    items = [
        Item(file.path, file.name, file.label, side, _group(file, side), file.mask, boxes.get(file.path, ()))
        for file, side in zip(found.files, sides, strict=True)
    ]
    same = compare(items)
    leaks = find_leaks(items, same)
    findings = [*found.findings, *findings, *misplaced, *describe(items, same, leaks), *_patients_said(items)]
    if drop_leaks:
        kept, left_out = drop(items, leaks, "near" if drop_leaks == "near" else "bytes")
        items, same = [items[row] for row in kept], same.of(kept)
        findings += left_out
    shares: dict[SplitName, float] = {"testing": TESTING, "validation": validation}
    for split, share in shares.items():
        if split not in sides:
            items, carved = _carve(items, same, split, share, seed)
            findings += carved
    return ImageSet(
        folder=folder,
        name=folder.resolve().name,
        classes=found.classes,
        items=tuple(items),
        findings=tuple(findings),
        digest=_digest(items, same.digests),
        leaks=tuple(leaks.values()),
    )


def _boxes(folder: Path, files: Sequence[ImageFile]) -> tuple[Mapping[Path, tuple[Box, ...]], list[str]]:
    boxes, wrong = read_boxes((file.path for file in files), folder)
    said: defaultdict[str, list[str]] = defaultdict(list)
    for why, file in wrong:
        said[why].append(file.relative_to(folder).as_posix())
    for file in strays((file.path for file in files), folder):
        said["fit no image"].append(file.relative_to(folder).as_posix())
    return boxes, [f"{len(them)} files of boxes {why}{first(them)}" for why, them in said.items()]


def _own_splits(files: Sequence[ImageFile]) -> tuple[list[SplitName], list[str]]:
    """The folder's own split of each image, "training" where it has none, and what to say of that."""
    beside = [file.name for file in files if file.split is None]
    said = f"{len(beside)} images lie in no split's folder, others do; they were taken for training{first(beside)}"
    sides = cast("list[SplitName]", [file.split or "training" for file in files])
    return sides, [said] if 0 < len(beside) < len(files) else []


def _group(file: ImageFile, side: SplitName) -> str | None:
    if file.group is not None:
        return file.group
    named = _PATIENT.fullmatch(file.path.stem)
    return f"{side}/{named[1] or named[2]}" if named else None


def _patients_said(items: Sequence[Item]) -> list[str]:
    """Numbers of patients that several splits have: perhaps others in each, and so no leak that is known."""
    numbers: defaultdict[SplitName, set[str]] = defaultdict(set)
    for item in items:
        if item.group and _PATIENT.fullmatch(item.path.stem):
            numbers[item.split].add(item.group.partition("/")[2])
    again = numbers["testing"] & numbers["training"]
    said = (
        f"{len(again)} of {len(numbers['testing'])} numbers of patients in testing are in training, too; each split "
        "may number its own, and so they were not taken for leaks"
    )
    return [said] if again else []


# ------------------------------------------------------------------------------------------------------ splits
def _carve(
    items: Sequence[Item], same: Same, split: SplitName, share: float, seed: int
) -> tuple[list[Item], list[str]]:
    """The items, this share of the training images now in another split."""
    rows = [row for row, item in enumerate(items) if item.split == "training"]
    held, findings = _hold_out([items[row] for row in rows], same.of(rows), share, seed)
    moved = {rows[k] for k in held}
    if split == "testing":
        findings.append(
            f"the folder has no testing split: {len(moved)} of {len(rows)} images were taken for it (seed {seed})"
        )
    lacking = {items[row].label for row in rows} - {items[row].label for row in moved}
    if share and (named := sorted(label for label in lacking if label is not None)):
        findings.append(f"no {split} image is of the class {', '.join(named)}, which has too few to share")
    done = [replace(item, split=split) if row in moved else item for row, item in enumerate(items)]
    return done, findings


def _hold_out(items: Sequence[Item], same: Same, share: float, seed: int) -> tuple[set[int], list[str]]:
    """Rows to hold out. Where all images of a class look the same, that is no reason to hold out none."""
    known = [*equal([item.group for item in items]), *equal(same.digests)]
    groups = connected(len(items), [*known, *same.looks])
    of_class: defaultdict[str | None, list[list[int]]] = defaultdict(list)
    for group in groups:
        of_class[items[group[0]].label].append(group)
    uniform = {label for label, them in of_class.items() if len(them) == 1 < len(them[0])}
    if uniform:
        pairs = [(i, j) for i, j in same.looks if items[i].label not in uniform]
        groups = connected(len(items), [*known, *pairs])
    labels, names = [item.label for item in items], [item.name for item in items]
    said = [
        f"all {len(of_class[label][0])} training images of {label or 'the folder'} look the same or are of one group"
        for label in sorted(uniform, key=str)
    ]
    return carve(labels, groups, names, share, seed), said


def _digest(items: Sequence[Item], digests: Sequence[str | None]) -> str:
    """SHA-256 over all that is known of the items."""
    total = hashlib.sha256()
    for item, digest in zip(items, digests, strict=True):
        mask = content_digest(item.mask) if item.mask else None
        known = (item.name, item.label, item.split, item.group, digest, mask, item.boxes)
        total.update(repr(known).encode("utf-8", "surrogateescape"))
    return total.hexdigest()

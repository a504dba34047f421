"""Real images from a folder, as a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from xaimed_bench.data.decoding import UnreadableError, read
from xaimed_bench.data.folders import Folder, ImageFile, find_images
from xaimed_bench.data.images import IMAGENET, ImageBatch, Normalisation
from xaimed_bench.progress import over_images


def load_images(
    folder: str | Path,
    *,
    count: int | None = None,
    size: int = 224,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    normalisation: Normalisation = IMAGENET,
    progress: bool | None = None,
) -> ImageBatch:
    """Images of a folder, ``[n, 3, size, size]``, with classes and masks where `find_images` finds them.

    ``count``: at most so many (None: all), spread evenly over the classes; the choice depends on ``seed`` and
    the files' names alone, and images with a mask come first where masks exist. Each whole image is stretched to the
    square, turned as its EXIF says. Grayscale fills the three channels; more than 8 bits are windowed to the image's
    own range. An image that cannot be read rightly (damaged, 16-bit colour, transparent, of several frames, with NaN,
    with a mask of other proportions) is left out, replaced by the next where ``count`` is given, and counted in
    ``findings``, as are byte-identical copies. ``progress`` None shows a bar for long loads on a terminal.

    ``classes``: those of the model, in the order of its outputs (a checkpoint's ``model.classes``); labels are then
    numbers in this order. None numbers the folder's own classes alphabetically, which fits a model only if it was
    trained on the same ones.
    Raises as `find_images` does, and ValueError where no image could be read, ``count`` or ``size`` is below 1, or the
    folder has classes that are not among ``classes``, or none.
    """
    if count is not None and count < 1:
        raise ValueError(f"{count} images asked for; give 1 or more, or leave count out for all")
    if size < 1:
        raise ValueError(f"images cannot have {size} pixels a side; give a size of 1 or more")
    folder = Path(folder)
    found = find_images(folder)
    if classes is not None:
        _refuse_other_classes(folder, found.classes, classes)
    known = tuple(found.classes if classes is None else classes)
    wanted = len(found.files) if count is None else min(count, len(found.files))
    read = _read(_spread(found, seed), wanted, size, show=progress)
    if not read.files:
        raise ValueError(
            f"none of the {len(found.files)} images in {folder} could be read: {read.findings[0]}"
        )
    return ImageBatch(
        images=normalisation.apply(torch.stack(read.pixels).float().div_(255)),
        normalisation=normalisation,
        source=folder.resolve().name,
        names=tuple(file.name for file in read.files),
        masks=_stack_masks(read.masks, size),
        has_mask=None if _none(read.masks) else torch.tensor([m is not None for m in read.masks]),
        labels=_labels(known, read.files),
        classes=known,
        findings=(*found.findings, *read.findings),
    )


def _refuse_other_classes(folder: Path, found: Sequence[str], classes: Sequence[str]) -> None:
    if not found:
        raise ValueError(f"{folder} tells no classes; leave classes out, or give one folder for each class")
    other = [name for name in found if name not in classes]
    if other:
        raise ValueError(
            f"{folder} holds the classes {', '.join(found)}, and {', '.join(other)} is not among classes: "
            f"{', '.join(classes)}; give names that are spelt as the folder's"
        )


def _spread(found: Folder, seed: int) -> Iterator[ImageFile]:
    """Every file once, one class after the other in turn, in an order that ``seed`` decides; masked files first."""
    random = torch.Generator().manual_seed(seed)
    order = [found.files[i] for i in torch.randperm(len(found.files), generator=random).tolist()]
    order.sort(key=lambda file: file.mask is None)  # stable
    lanes = [[file for file in order if file.label == label] for label in found.classes or (None,)]
    return (file for file in chain.from_iterable(zip_longest(*lanes)) if file is not None)


@final
@dataclass(frozen=True)
class _Read:
    files: list[ImageFile]
    pixels: list[Tensor]
    masks: list[Tensor | None]
    findings: list[str]


def _read(files: Iterable[ImageFile], wanted: int, size: int, *, show: bool | None) -> _Read:
    done = _Read([], [], [], [])
    broken: dict[str, list[str]] = {}
    remarks: Counter[str] = Counter()
    with over_images("reading image", wanted, show) as steps:
        for file in files:
            if len(done.files) == wanted:
                break
            try:
                reading = read(file.path, file.mask, size)
            except UnreadableError as error:
                broken.setdefault(str(error), []).append(file.name)
                continue
            remarks.update(reading.remarks)
            done.files.append(file)
            done.pixels.append(reading.image.pixels)
            done.masks.append(reading.mask)
            steps.begin(file.name)
    if broken:
        first = "; ".join(f"{names[0]}: {why}" for why, names in list(broken.items())[:3])
        count = sum(map(len, broken.values()))
        done.findings.append(f"{count} images could not be read and were left out (first: {first})")
    done.findings.extend(f"{count} images {remark}" for remark, count in remarks.items())
    return done


def _none(masks: Sequence[Tensor | None]) -> bool:
    return all(mask is None for mask in masks)


def _stack_masks(masks: Sequence[Tensor | None], size: int) -> Tensor | None:
    if _none(masks):
        return None
    empty = torch.zeros(size, size, dtype=torch.bool)
    return torch.stack([empty if mask is None else mask for mask in masks])


def _labels(classes: Sequence[str], files: Sequence[ImageFile]) -> Tensor | None:
    if not classes:
        return None
    return torch.tensor([classes.index(file.label) for file in files if file.label], dtype=torch.int64)

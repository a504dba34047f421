"""Real images from a folder, as a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from xaimed_core.data.folders import Folder, ImageFile, find_images
from xaimed_core.data.images import IMAGENET, ImageBatch, Normalisation

if TYPE_CHECKING:
    from PIL import Image

_LONG = 64
"""From this many images on, loading takes seconds and a progress bar is worth its line."""


def load_images(
    folder: str | Path,
    *,
    count: int | None = None,
    size: int = 224,
    seed: int = 0,
    normalisation: Normalisation = IMAGENET,
    progress: bool | None = None,
) -> ImageBatch:
    """Images of a folder, ``[n, 3, size, size]``, with classes and masks where `find_images` finds them.

    ``count``: at most so many (None: all), spread evenly over the classes; the choice depends on ``seed`` and
    the files' names alone, and images with a mask come first where masks exist. Each whole image is stretched to the
    square. Grayscale fills the three channels; more than 8 bits are windowed to the image's own range. An image
    that cannot be decoded is left out, replaced by the next where ``count`` is given, and counted in
    ``findings``, as are byte-identical copies. ``progress`` None shows a bar for long loads on a terminal.
    Raises as `find_images` does, and ValueError where no image could be read or ``count`` or ``size`` is below 1.
    """
    if count is not None and count < 1:
        raise ValueError(f"{count} images asked for; give 1 or more, or leave count out for all")
    if size < 1:
        raise ValueError(f"images cannot have {size} pixels a side; give a size of 1 or more")
    folder = Path(folder)
    found = find_images(folder)
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
        labels=_labels(found.classes, read.files),
        classes=found.classes,
        findings=(*found.findings, *read.findings),
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
    """Decode files until ``wanted`` are read."""
    read = _Read([], [], [], [])
    broken: list[str] = []
    deep = 0
    shown = (sys.stderr.isatty() and wanted >= _LONG) if show is None else show
    with _bar(wanted, shown) as step:
        for file in files:
            if len(read.files) == wanted:
                break
            try:
                pixels, windowed = _decode(file.path, size)
                mask = None if file.mask is None else _decode_mask(file.mask, size)
            except (OSError, SyntaxError, ValueError) as error:  # all three come out of PIL for broken files
                broken.append(f"{file.name}: {error}")
                continue
            deep += windowed
            read.files.append(file)
            read.pixels.append(pixels)
            read.masks.append(mask)
            step()
    if broken:
        read.findings.append(f"{len(broken)} images could not be read and were left out (first: {broken[0]})")
    if deep:
        read.findings.append(f"{deep} images have more than 8 bits; each was windowed to its own range")
    return read


@contextmanager
def _bar(total: int, shown: bool) -> Generator[Callable[[], None]]:
    """What to call after each image: it moves a progress bar on stderr, or does nothing."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=console.is_terminal) as progress:
        task = progress.add_task("reading images", total=total)
        yield lambda: progress.advance(task)


def _decode(path: Path, size: int) -> tuple[Tensor, bool]:
    """Pixels uint8 ``[3, size, size]``, and whether the file has more than 8 bits."""
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        deep = image.mode.startswith(("I", "F"))
        colours = (_windowed(image) if deep else image).convert("RGB")
    return _tensor(colours.resize((size, size), Image.Resampling.BILINEAR)), deep


def _windowed(image: Image.Image) -> Image.Image:
    """An image of 16 or 32 bits, its own range spread over 0 to 255."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8))


def _decode_mask(path: Path, size: int) -> Tensor:
    """Bool ``[size, size]``: not black; in a JPEG, whose borders ring, brighter than half. The majority decides."""
    from PIL import Image

    with Image.open(path) as image:
        channels = _tensor(image.convert("RGB"))
    threshold = 127 if path.suffix.lower() in (".jpg", ".jpeg") else 0
    lesion = (channels.amax(0) > threshold).to(torch.uint8) * 255
    small = Image.fromarray(lesion.numpy()).resize((size, size), Image.Resampling.BOX)
    return _tensor(small)[0] > 127


def _tensor(image: Image.Image) -> Tensor:
    raw = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return raw.view(image.height, image.width, -1).permute(2, 0, 1)


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

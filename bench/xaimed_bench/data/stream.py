"""Batches of images from files, one after the other: memory does not grow with the number of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from xaimed_bench.data.decoding import UnreadableError, read
from xaimed_bench.data.images import IMAGENET, Normalisation
from xaimed_bench.data.sets.boxes import draw
from xaimed_bench.data.sets.items import Item
from xaimed_bench.device import usable_cores


@final
@dataclass(frozen=True)
class Batch:
    """Images of one size with what is known about each.

    ``index``   int64 ``[n]``: which of the items given
    ``images``  float32 ``[n, 3, size, size]``, normalised
    ``labels``  int64 ``[n]`` into the classes given, -1 where the image has none of them
    ``lesion``  bool ``[n, size, size]``: its mask, else its boxes drawn
    ``has_lesion``  bool ``[n]``: where a mask or a box marks anything; the other rows of ``lesion`` are all False
    """

    index: Tensor
    names: tuple[str, ...]
    images: Tensor
    labels: Tensor
    lesion: Tensor
    has_lesion: Tensor


class Unreadable(NamedTuple):
    """An image that is missing in its batch, or what was odd about one that is there."""

    name: str
    why: str


def stream(
    items: Sequence[Item],
    classes: Sequence[str],
    *,
    size: int = 224,
    normalisation: Normalisation = IMAGENET,
    batch: int = 32,
    workers: int = 0,
    order: Sequence[int] | None = None,
    on_unreadable: Callable[[Unreadable], None],
    on_remark: Callable[[Unreadable], None] | None = None,
) -> Iterator[Batch]:
    """The images in ``order`` (None: as given), at most ``batch`` at a time.

    Values and order are the same for any number of ``workers``, the processes that decode: as many as there are cores
    at most, and none for 0. An image that cannot be read rightly (see `load_images`) is handed to ``on_unreadable``
    and missing in its batch; a batch of which nothing is left is passed over. ``on_remark`` gets what was odd about an
    image that is there, for instance a mask that marks nothing. No random generator is touched.
    Raises ValueError for a size or a batch below 1, or a number in ``order`` that is no item's.
    """
    read = read_rows(items, classes, size=size, batch=batch, workers=workers, order=order)
    return _batches(read, normalisation, on_unreadable, on_remark)


@final
@dataclass(frozen=True)
class Row:
    """What is known of one image: its label, the file's width and height as shown, whether a lesion is marked.

    ``shown`` is None where it cannot be read; then the one remark is the reason.
    """

    index: int
    name: str
    label: int
    shown: tuple[int, int] | None
    marked: bool
    remarks: tuple[str, ...]


class Rows(NamedTuple):
    """Images as they were asked for, and of those that can be read ``pixels`` (uint8) and ``lesion``, as in `Batch`."""

    rows: tuple[Row, ...]
    pixels: Tensor
    lesion: Tensor


def read_rows(
    items: Sequence[Item],
    classes: Sequence[str],
    *,
    size: int,
    batch: int = 32,
    workers: int = 0,
    order: Sequence[int] | None = None,
) -> Iterable[Rows]:
    """As `stream`, with those images that cannot be read. Raises as it does."""
    if min(size, batch) < 1 or workers < 0:
        raise ValueError(
            f"got size {size}, batch {batch}, workers {workers}; give 1 or more, of workers 0 or more"
        )
    places = range(len(items)) if order is None else order
    if any(not 0 <= place < len(items) for place in places):
        raise ValueError(f"order must hold numbers of items, 0 to {len(items) - 1}")
    return DataLoader(
        _Files(items, {name: k for k, name in enumerate(classes)}, size),
        sampler=places,
        batch_size=batch,
        num_workers=min(workers, usable_cores()),
        collate_fn=_Pack(size),
        generator=torch.Generator(),  # else the loader draws from everybody's
    )


_Read = tuple[Row, Tensor | None, Tensor | None]


@final
class _Files(Dataset[_Read]):
    def __init__(self, items: Sequence[Item], number: dict[str, int], size: int) -> None:
        self.items, self.number, self.size = items, number, size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> _Read:
        item = self.items[index]
        label = -1 if item.label is None else self.number.get(item.label, -1)
        try:
            found = read(item.path, item.mask, self.size)
        except UnreadableError as error:
            return Row(index, item.name, label, None, False, (str(error),)), None, None
        lesion = draw(item.boxes, self.size) if found.mask is None else found.mask
        known = Row(index, item.name, label, found.image.shown, bool(lesion.any()), found.remarks)
        return known, found.image.pixels, lesion


@final
@dataclass(frozen=True)
class _Pack:
    """Stacks where images were read: many small tensors would each take a file handle from process to process."""

    size: int

    def __call__(self, read: Sequence[_Read]) -> Rows:
        pixels = [pixels for _, pixels, _ in read if pixels is not None]
        lesions = [lesion for _, _, lesion in read if lesion is not None]
        side = self.size
        return Rows(
            tuple(row for row, _, _ in read),
            torch.stack(pixels) if pixels else torch.empty(0, 3, side, side, dtype=torch.uint8),
            torch.stack(lesions) if lesions else torch.empty(0, side, side, dtype=torch.bool),
        )


def _batches(
    read: Iterable[Rows],
    normalisation: Normalisation,
    on_unreadable: Callable[[Unreadable], None],
    on_remark: Callable[[Unreadable], None] | None,
) -> Iterator[Batch]:
    for rows, pixels, lesion in read:
        for row in rows:
            say = on_unreadable if row.shown is None else on_remark
            for remark in row.remarks:
                if say is not None:
                    say(Unreadable(row.name, remark))
        there = [row for row in rows if row.shown is not None]
        if there:
            yield Batch(
                index=torch.tensor([row.index for row in there]),
                names=tuple(row.name for row in there),
                images=normalisation.apply(pixels.float().div_(255)),
                labels=torch.tensor([row.label for row in there]),
                lesion=lesion,
                has_lesion=torch.tensor([row.marked for row in there]),
            )

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
    """The images in ``order`` (None: as given), decoded by ``workers`` processes, at most ``batch`` at a time.

    Values and order are the same for any number of workers. An image that cannot be read rightly (see `load_images`)
    is handed to ``on_unreadable`` and missing in its batch; a batch of which nothing is left is passed over.
    ``on_remark`` gets what was odd about an image that is there, for instance a mask that marks nothing.
    Raises ValueError for a size or a batch below 1, or a number in ``order`` that is no item's.
    """
    rows = read_rows(items, classes, size=size, batch=batch, workers=workers, order=order)
    return _batches(rows, normalisation, size, on_unreadable, on_remark)


@final
@dataclass(frozen=True)
class Row:
    """One image: pixels uint8 ``[3, size, size]``, its lesion, the file's width and height as shown, and remarks.

    Where it cannot be read, these are None and the one remark is the reason.
    """

    index: int
    name: str
    label: int
    pixels: Tensor | None
    lesion: Tensor | None
    shown: tuple[int, int] | None
    remarks: tuple[str, ...]


@final
class _Files(Dataset[Row]):
    def __init__(self, items: Sequence[Item], number: dict[str, int], size: int) -> None:
        self.items, self.number, self.size = items, number, size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Row:
        item = self.items[index]
        label = -1 if item.label is None else self.number.get(item.label, -1)
        try:
            found = read(item.path, item.mask, self.size)
        except UnreadableError as error:
            return Row(index, item.name, label, None, None, None, (str(error),))
        lesion = draw(item.boxes, self.size) if found.mask is None and item.boxes else found.mask
        return Row(index, item.name, label, found.image.pixels, lesion, found.image.shown, found.remarks)


def read_rows(
    items: Sequence[Item],
    classes: Sequence[str],
    *,
    size: int,
    batch: int = 32,
    workers: int = 0,
    order: Sequence[int] | None = None,
) -> Iterable[list[Row]]:
    """As `stream`, every image by itself, those that cannot be read among them. Raises as it does."""
    if min(size, batch) < 1 or workers < 0:
        raise ValueError(
            f"got size {size}, batch {batch}, workers {workers}; give 1 or more, of workers 0 or more"
        )
    rows = range(len(items)) if order is None else order
    if any(not 0 <= row < len(items) for row in rows):
        raise ValueError(f"order must hold numbers of items, 0 to {len(items) - 1}")
    number = {name: k for k, name in enumerate(classes)}
    return DataLoader(
        _Files(items, number, size), sampler=rows, batch_size=batch, num_workers=workers, collate_fn=_keep
    )


def _keep(rows: list[Row]) -> list[Row]:
    return rows


def _batches(
    loader: Iterable[list[Row]],
    normalisation: Normalisation,
    size: int,
    on_unreadable: Callable[[Unreadable], None],
    on_remark: Callable[[Unreadable], None] | None,
) -> Iterator[Batch]:
    for rows in loader:
        for row in rows:
            tell = on_unreadable if row.pixels is None else on_remark
            for remark in row.remarks:
                if tell is not None:
                    tell(Unreadable(row.name, remark))
        there = [row for row in rows if row.pixels is not None]
        if there:
            yield _stack(there, normalisation, size)


def _stack(rows: Sequence[Row], normalisation: Normalisation, size: int) -> Batch:
    pixels = torch.stack([row.pixels for row in rows if row.pixels is not None])
    nothing = torch.zeros(size, size, dtype=torch.bool)
    lesion = torch.stack([nothing if row.lesion is None else row.lesion for row in rows])
    return Batch(
        index=torch.tensor([row.index for row in rows]),
        names=tuple(row.name for row in rows),
        images=normalisation.apply(pixels.float().div_(255)),
        labels=torch.tensor([row.label for row in rows]),
        lesion=lesion,
        has_lesion=lesion.flatten(1).any(1),
    )

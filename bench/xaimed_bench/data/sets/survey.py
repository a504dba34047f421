"""A look at every image of a set, for the people who are about to use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from xaimed_bench.data.sets.items import ImageSet, SplitName
from xaimed_bench.data.stream import Unreadable, read_rows
from xaimed_bench.progress import over_images

_SIZE = 224
"""Pixels a side at which masks and boxes must mark something: what networks read."""


@final
@dataclass(frozen=True)
class Survey:
    """A set, and what reading all of it brought.

    ``counts``      images by split and class ("" where the folder tells no classes)
    ``sizes``       images by width and height
    ``lesions``     images whose mask or boxes mark something
    ``unreadable``, ``remarks``  images that cannot be used, and what is odd about others
    """

    images: ImageSet
    counts: Mapping[SplitName, Mapping[str, int]]
    sizes: Mapping[tuple[int, int], int]
    lesions: int
    unreadable: tuple[Unreadable, ...]
    remarks: tuple[Unreadable, ...]


def survey(images: ImageSet, *, workers: int = 0) -> Survey:
    """Read every image and mask, one after the other."""
    counts: dict[SplitName, Counter[str]] = {
        split: Counter(item.label or "" for item in images.split(split))
        for split in ("training", "validation", "testing")
    }
    sizes: Counter[tuple[int, int]] = Counter()
    lesions = 0
    unreadable: list[Unreadable] = []
    remarks: list[Unreadable] = []
    with over_images("reading image", len(images.items)) as steps:
        for read in read_rows(images.items, images.classes, size=_SIZE, workers=workers):
            for row in read.rows:
                found = unreadable if row.shown is None else remarks
                found += [Unreadable(row.name, why) for why in row.remarks]
                sizes.update([row.shown] if row.shown else [])
                lesions += row.marked
                steps.begin(row.name)
    return Survey(images, counts, sizes, lesions, tuple(unreadable), tuple(remarks))

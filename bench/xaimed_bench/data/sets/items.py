"""What a set of images is: one record for each image, its split among it, and what its user must know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

SplitName = Literal["training", "validation", "testing"]
Leak = Literal["bytes", "near"]
"""What to leave out: images with the bytes or of the lesion of one in training; or those that look the same, too."""
Way = Literal["bytes", "group", "near"]


@final
@dataclass(frozen=True)
class Box:
    """A lesion's box in fractions of the image's width and height, from its upper left corner.

    ``label`` is the text that the file gives, with YOLO the number of a class.
    """

    label: str
    x0: float
    y0: float
    x1: float
    y1: float


@final
@dataclass(frozen=True)
class Item:
    """One image that was found; nothing of it was decoded.

    ``name``   its path below the set's folder, with forward slashes: unique
    ``label``  its class; None where the folder tells no classes
    ``group``  what must not be split: a lesion (HAM10000), a patient where one is known, else None
    ``mask``, ``boxes``  where its lesion is, where that is known
    """

    path: Path
    name: str
    label: str | None
    split: SplitName
    group: str | None = None
    mask: Path | None = None
    boxes: tuple[Box, ...] = ()


@final
@dataclass(frozen=True)
class Leaking:
    """An image to test or validate on, how it leaks, and the name of the image of an earlier split that it repeats.

    ``way``: the same bytes, else of the same group, else it looks the same (perceptual hash).
    """

    name: str
    way: Way
    of: str


@final
@dataclass(frozen=True)
class ImageSet:
    """The images of a folder, sorted by name.

    ``classes``   in alphabetical order; empty where the folder tells none
    ``findings``  defects of the folder that its user must know, one sentence each, with the files' names
    ``digest``    SHA-256 over the names, labels, splits, groups, images, masks and boxes of all items
    ``leaks``     what leaks in the folder's own splits, left out of the items or not
    """

    folder: Path
    name: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    findings: tuple[str, ...]
    digest: str
    leaks: tuple[Leaking, ...] = ()

    def split(self, which: SplitName) -> tuple[Item, ...]:
        """The items of one split, in order of their names."""
        return tuple(item for item in self.items if item.split == which)

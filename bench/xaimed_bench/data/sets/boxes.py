"""Lesion boxes from YOLO text files: one line a box, ``label centre_x centre_y width height`` in fractions."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from xaimed_bench.data.sets.items import Box


def read_boxes(
    images: Iterable[Path], folder: Path
) -> tuple[dict[Path, tuple[Box, ...]], list[tuple[str, Path]]]:
    """The boxes of every image below ``folder`` that has a text file of its own stem, and what is wrong with a file.

    The file lies beside the image; or in ``labels/``, where the image lies in ``images/``, as YOLO has it: both
    ``images/train/1.png`` with ``labels/train/1.txt`` and ``train/images/1.png`` with ``train/labels/1.txt``.
    Fractions are of the image as it is shown, EXIF's turn included. An empty file means that there is no lesion.
    A box that sticks out of the image is cut; one that is no box, or lies outside, is left out.
    """
    boxes: dict[Path, tuple[Box, ...]] = {}
    wrong: list[tuple[str, Path]] = []
    for image in images:
        files = [file for file in _places(image, folder) if os.path.lexists(file)]
        if not files:
            continue
        file, *others = files
        wrong += [("were left out, for their images have another beside them", other) for other in others]
        if not file.is_file():
            wrong.append(("are no regular files", file))
            continue
        try:
            lines = _lines(file)
        except (OSError, UnicodeDecodeError) as error:
            wrong.append((f"could not be read ({type(error).__name__})", file))
            continue
        found = list(map(_box, lines))
        wrong += [(why, file) for why in dict.fromkeys(why for _, why in found if why)]
        if kept := tuple(box for box, _ in found if box):
            boxes[image] = kept
    return boxes, wrong


def strays(images: Iterable[Path], folder: Path) -> list[Path]:
    """Files of boxes without an image, in the folders where those of images may lie."""
    stems: defaultdict[Path, set[str]] = defaultdict(set)
    for file in (place for image in images for place in _places(image, folder)):
        stems[file.parent].add(file.stem)
    return [
        file
        for folder, known in sorted(stems.items())
        for file in sorted(folder.glob("*.txt"))
        if file.is_file() and file.stem not in known and _holds_boxes(file)
    ]


def _places(image: Path, folder: Path) -> list[Path]:
    """Where the boxes of an image may lie, the first to be taken."""
    beside = image.with_suffix(".txt")
    *above, name = beside.relative_to(folder).parts
    if "images" not in above:
        return [beside]
    last = len(above) - 1 - above[::-1].index("images")
    return [beside, folder.joinpath(*above[:last], "labels", *above[last + 1 :], name)]


def draw(boxes: Sequence[Box], size: int) -> Tensor:
    """Bool ``[size, size]``: every pixel that a box touches, one at least for each box."""
    lesion = torch.zeros(size, size, dtype=torch.bool)
    for box in boxes:
        x0, y0 = (min(math.floor(v * size), size - 1) for v in (box.x0, box.y0))
        x1, y1 = (math.ceil(v * size) for v in (box.x1, box.y1))
        lesion[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    return lesion


def _box(words: Sequence[str]) -> tuple[Box | None, str]:
    """The box of one line, or None, and what is wrong with it."""
    try:
        label, x, y, width, height = words[0], *map(float, words[1:])
    except ValueError:
        return None, "hold a line that is no box (label, x, y, width, height), which was left out"
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        return None, "hold a box without an area, which was left out"
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    x0, y0, x1, y1 = cut = tuple(min(max(edge, 0.0), 1.0) for edge in edges)
    if x0 >= x1 or y0 >= y1:
        return None, "hold a box outside the image, which was left out"
    sticks_out = max(abs(a - b) for a, b in zip(edges, cut, strict=True)) > _ROUNDING
    return Box(label, x0, y0, x1, y1), "hold a box that sticks out of the image and was cut" * sticks_out


_ROUNDING = 1e-4
"""What four decimals may put over an edge."""


def _lines(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _holds_boxes(file: Path) -> bool:
    try:
        lines = _lines(file)
    except (OSError, UnicodeDecodeError):
        return False
    return bool(lines) and all(_box(words)[0] for words in lines)

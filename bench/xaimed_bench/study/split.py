"""Training and test images of a folder, without what leaks from one into the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from xaimed_bench.data import ImageBatch, load_images
from xaimed_bench.data.folders import ImageFile, find_images


@final
@dataclass(frozen=True)
class Split:
    """Images and labels to train on and to test on.

    ``leaked``: test files left out, because a training file has the same bytes. ``findings``: what a user of the folder
    must know (`ImageBatch`).
    """

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    leaked: int
    findings: tuple[str, ...] = ()


def split_of(folder: str | Path, *, size: int, train: int | None, test: int, seed: int) -> Split:
    """At most ``train`` training and ``test`` test images of a folder with class folders below Training and Testing.

    A test image is used only if no training file has its bytes, and once where it has copies. Classes are evenly
    represented as far as there are enough. Raises ValueError where a split or the classes are missing, and for a class
    with test images alone: it is spelt differently, and no network could be right about it.
    """
    folder = Path(folder)
    found = find_images(folder)
    files = {file.name: file for file in found.files}
    trained_on = {_digest(file) for file in found.files if file.split == "training"}
    tests = [file for file in found.files if file.split == "testing"]
    if not found.classes or not trained_on or not tests:
        raise ValueError(f"{folder} needs class folders below Training/ and Testing/; found {found.classes}")
    unknown = sorted(
        {str(file.label) for file in tests} - {file.label for file in found.files if file.split == "training"}
    )
    if unknown:
        raise ValueError(
            f"{folder} has no training image of the class {', '.join(unknown)}, which is tested; "
            "name its folder below Training/ and Testing/ alike"
        )
    digests = {file.name: _digest(file) for file in tests}
    first = {digest: name for name, digest in reversed(digests.items())}
    usable = {name for name, digest in digests.items() if digest not in trained_on and first[digest] == name}
    batch = load_images(folder, size=size, seed=seed)
    training = [k for k, name in enumerate(batch.names) if files[name].split == "training"]
    testing = [k for k, name in enumerate(batch.names) if name in usable]
    if not testing:
        raise ValueError(
            f"every test image of {folder} has the bytes of a training image; nothing is left to test"
        )
    images, labels = _rows(batch, training, train)
    test_images, test_labels = _rows(batch, testing, test)
    leaked = sum(digest in trained_on for digest in digests.values())
    return Split(images, labels, test_images, test_labels, found.classes, leaked, batch.findings)


def _rows(batch: ImageBatch, rows: Sequence[int], count: int | None) -> tuple[Tensor, Tensor]:
    """The first ``count`` of these rows of the batch, one class after the other in turn."""
    assert batch.labels is not None  # the folder has classes
    labels = batch.labels
    lanes = [[row for row in rows if labels[row] == k] for k in range(len(batch.classes))]
    turns = [row for turn in zip_longest(*lanes) for row in turn if row is not None]
    index = torch.tensor(turns[:count])
    return batch.images[index], labels[index]


def _digest(file: ImageFile) -> bytes:
    return hashlib.sha256(file.path.read_bytes()).digest()

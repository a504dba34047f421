"""Which images are the same: by their bytes, or as they look (perceptual hash).

Two images look the same where at most `ALIKE` of the 256 bits of their hashes differ. Of brain, chest and skin images,
copies that were saved again (JPEG, down to quality 30), scaled or brightened differ in at most 10 bits, mostly in 0 to
4; other images in at least 26, neighbouring slices among them. Cropped or mirrored copies are not found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from xaimed_bench.data.decoding import thumbnail
from xaimed_bench.progress import over_images

if TYPE_CHECKING:
    import numpy as np

ALIKE = 10
_SIDE = 16
_BLOCK = 1024
"""Rows of hashes compared at once: 1,024 x 100,000 distances are 400 MB."""


def perceptual_hashes(paths: Sequence[Path]) -> list[np.ndarray | None]:
    """256 bits for each image, as imagehash's ``phash`` finds them; None where it cannot be read."""
    hashes: list[np.ndarray | None] = []
    with over_images("comparing image", len(paths)) as steps:
        for path in paths:
            steps.begin(path.name)
            hashes.append(_hash(path))
    return hashes


def alike(hashes: Sequence[np.ndarray | None]) -> list[tuple[int, int]]:
    """Every pair of rows, the smaller first, whose images look the same."""
    import numpy as np

    rows = [row for row, bits in enumerate(hashes) if bits is not None]
    if not rows:
        return []
    signs = np.stack([bits for bits in hashes if bits is not None]).astype(np.float32) * 2 - 1
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), _BLOCK):
        differing = (signs.shape[1] - signs[start : start + _BLOCK] @ signs[start:].T) / 2
        for i, j in zip(*np.nonzero(differing <= ALIKE), strict=True):
            if i < j:
                pairs.append((rows[start + int(i)], rows[start + int(j)]))
    return pairs


def equal(keys: Sequence[Hashable | None]) -> Iterator[tuple[int, int]]:
    """A pair (first row, row) for every further row with the key of an earlier one; None is equal to nothing."""
    first: dict[Hashable, int] = {}
    for row, key in enumerate(keys):
        if key is not None and first.setdefault(key, row) != row:
            yield first[key], row


def connected(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Rows 0 to ``count`` in groups, each holding whatever pairs connect, in order of their first rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = list(pairs)
    heads, tails = ([edge[side] for edge in edges] for side in (0, 1))
    graph = coo_array(([1] * len(edges), (heads, tails)), shape=(count, count))
    _, numbers = cast("tuple[int, np.ndarray]", connected_components(graph, directed=False))
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, number in enumerate(numbers.tolist()):
        groups[number].append(row)
    return list(groups.values())


def _hash(path: Path) -> np.ndarray | None:
    import imagehash

    try:
        return imagehash.phash(thumbnail(path), _SIDE).hash.ravel()
    except (OSError, ValueError):  # reading it for use says why
        return None

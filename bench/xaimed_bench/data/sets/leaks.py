"""Images to test or validate on that training holds, too."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from xaimed_bench.data.folders import content_digest
from xaimed_bench.data.sets.copies import alike, perceptual_hashes
from xaimed_bench.data.sets.items import Item, Leak, Leaking, SplitName, Way
from xaimed_bench.data.tables import first

_WORDS: Mapping[str, str] = {
    "bytes": "are byte-identical to an image of training",
    "group": "are of a lesion of training",
    "near": "look the same as an image of training, with other bytes",
}
_BEFORE: Mapping[SplitName, tuple[SplitName, ...]] = {
    "training": (),
    "validation": ("training",),
    "testing": ("training", "validation"),
}
"""What was seen before a split is judged."""


@final
@dataclass(frozen=True)
class Same:
    """Of every item its bytes' digest, and the pairs of items that look the same, byte-identical ones among them."""

    digests: tuple[str | None, ...]
    looks: tuple[tuple[int, int], ...]

    def of(self, rows: Sequence[int]) -> Same:
        number = {row: k for k, row in enumerate(rows)}
        pairs = ((number[i], number[j]) for i, j in self.looks if i in number and j in number)
        return Same(tuple(self.digests[row] for row in rows), tuple(pairs))


def compare(items: Sequence[Item]) -> Same:
    """Read every file once for its bytes and once for its looks."""
    paths = [item.path for item in items]
    return Same(tuple(map(content_digest, paths)), tuple(alike(perceptual_hashes(paths))))


def find_leaks(items: Sequence[Item], same: Same) -> dict[int, Leaking]:
    """Rows to test or validate on that leak. What is validated on counts as training to what is tested."""
    bearers: dict[SplitName, dict[str, str]] = {split: {} for split in _BEFORE}
    for item, digest in zip(items, same.digests, strict=True):
        for key in _keys(item, digest).values():
            bearers[item.split].setdefault(key, item.name)
    looks: defaultdict[int, list[int]] = defaultdict(list)
    for i, j in same.looks:
        looks[i].append(j)
        looks[j].append(i)
    found: dict[int, Leaking] = {}
    for row, (item, digest) in enumerate(zip(items, same.digests, strict=True)):
        earlier = _BEFORE[item.split]
        for way, key in _keys(item, digest).items():
            repeated = [bearers[split][key] for split in earlier if key in bearers[split]]
            if repeated and row not in found:
                found[row] = Leaking(item.name, way, repeated[0])
        repeated = [items[other].name for other in looks[row] if items[other].split in earlier]
        if repeated and row not in found:
            found[row] = Leaking(item.name, "near", repeated[0])
    return found


def describe(items: Sequence[Item], same: Same, leaks: Mapping[int, Leaking]) -> list[str]:
    """Findings on what leaks otherwise than by its bytes, of which `find_images` speaks, and on doubtful classes."""
    totals = Counter(item.split for item in items)
    of: defaultdict[tuple[SplitName, Way], list[str]] = defaultdict(list)
    for row, leak in leaks.items():
        of[items[row].split, leak.way].append(f"{leak.name} of {leak.of}")
    findings = [
        f"{len(names)} of {totals[split]} {split} images {_WORDS[way]}{first(names)}"
        for (split, way), names in sorted(of.items())
        if way != "bytes"
    ]
    doubtful = [
        f"{items[i].name} and {items[j].name}"
        for i, j in same.looks
        if items[i].label != items[j].label and same.digests[i] != same.digests[j]
    ]
    if doubtful:
        findings.append(f"{len(doubtful)} pairs look the same and carry different classes{first(doubtful)}")
    return findings


def drop(items: Sequence[Item], leaks: Mapping[int, Leaking], which: Leak) -> tuple[list[int], list[str]]:
    """The rows to keep, and findings on those left out."""
    out = {row: leak.way for row, leak in leaks.items() if which == "near" or leak.way != "near"}
    counts = Counter((items[row].split, way) for row, way in out.items())
    kept = [row for row in range(len(items)) if row not in out]
    return kept, [
        f"{count} {split} images were left out: they {_WORDS[way]}" for (split, way), count in counts.items()
    ]


def _keys(item: Item, digest: str | None) -> dict[Way, str]:
    """What two items must not share across splits."""
    keys: dict[Way, str] = {"bytes": f"bytes {digest}"} if digest else {}
    if item.group:
        keys["group"] = f"group {item.group}"
    return keys

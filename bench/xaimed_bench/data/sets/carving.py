"""Splits made from a seed: stratified by class, and no group is ever divided."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence


def carve(
    labels: Sequence[str | None],
    groups: Sequence[Sequence[int]],
    names: Sequence[str],
    fraction: float,
    seed: int,
) -> set[int]:
    """Rows to hold out, about ``fraction`` of each class, in whole groups; one group at least where a class has two.

    ``groups``: rows that must stay together; a group counts for the class of its first row. Which are chosen depends on
    ``seed`` and the names alone, so that images that come later move few of those that were there.
    """
    strata: defaultdict[str, list[Sequence[int]]] = defaultdict(list)
    for group in groups:
        strata[labels[group[0]] or ""].append(group)
    held: set[int] = set()
    for _, stratum in sorted(strata.items()):
        held.update(_hold_out(sorted(stratum, key=lambda group: _draw(names[group[0]], seed)), fraction))
    return held


def _hold_out(groups: Sequence[Sequence[int]], fraction: float) -> list[int]:
    wanted = max(1, round(fraction * sum(map(len, groups)))) if fraction and len(groups) > 1 else 0
    held: list[int] = []
    for group in groups:
        if len(held) + len(group) <= wanted:
            held += group
    return held if held or not wanted else list(min(groups, key=len))


def _draw(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

"""Which runs a trial of the gate consists of, and what each of them measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

Kind = Literal["alike", "slowed", "loaded"]

FLOOR_RUNS = 10
"""The first runs alike: they fix the machine's noise and are never judged."""
LEVELS = (0.05, 0.10, 0.20, 0.10)
"""Extra work inside ours; the rows of a slowed run take turns with them."""


@final
@dataclass(frozen=True)
class Planned:
    """One gate run: of the code as it is (alike), with extra work (slowed), or beside a busy process (loaded)."""

    kind: Kind
    index: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.kind}-{self.index:02}"

    def extra_work(self, keys: Sequence[str]) -> dict[str, float]:
        """The share of extra work of each row; empty but in slowed runs."""
        if self.kind != "slowed":
            return {}
        return {key: LEVELS[(self.index + i) % len(LEVELS)] for i, key in enumerate(sorted(keys))}


def planned(alike: int, slowed: int, loaded: int) -> list[Planned]:
    """All runs in the order to make them: those of the floor first, then the three kinds evenly mixed."""
    first = min(alike, FLOOR_RUNS)
    rest: list[tuple[float, Planned]] = []
    kinds: tuple[tuple[Kind, int, int], ...] = (
        ("alike", first, alike),
        ("slowed", 0, slowed),
        ("loaded", 0, loaded),
    )
    for kind, start, stop in kinds:
        rest += [((i - start + 0.5) / (stop - start), Planned(kind, i)) for i in range(start, stop)]
    return [Planned("alike", i) for i in range(first)] + [run for _, run in sorted(rest, key=lambda p: p[0])]

"""A trial of the gate as records: the runs it plans, and what they showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

from xaimed_reports.store.records import SCHEMA, Machine

Kind = Literal["alike", "slowed", "loaded"]

FLOOR_RUNS = 10
"""The first runs alike: they fix the machine's noise and are never judged."""
SIDE = 6
"""Processes a side, as `xaimed compare --base` takes."""
LEVELS = (0.05, 0.10, 0.20, 0.10)
"""Extra work, as a share of a call; the rows of a slowed run take turns with them."""

CALLED: tuple[str, ...] = ("slower", "faster", "same", "unknown", "not judged")
"""What a row is called; not judged: something disturbed it."""


@final
@dataclass(frozen=True)
class Planned:
    """One gate run: of the code as it is (alike), with extra work (slowed), or beside a busy process (loaded)."""

    kind: Kind
    index: int

    @property
    def name(self) -> str:
        """E.g. "alike-03"."""
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
    spans: dict[Kind, tuple[int, int]] = {
        "alike": (first, alike),
        "slowed": (0, slowed),
        "loaded": (0, loaded),
    }
    for kind, (start, stop) in spans.items():
        rest += [((i - start + 0.5) / (stop - start), Planned(kind, i)) for i in range(start, stop)]
    return [Planned("alike", i) for i in range(first)] + [run for _, run in sorted(rest, key=lambda p: p[0])]


@final
@dataclass(frozen=True)
class Tally:
    """How a series of comparisons came out."""

    what: str
    extra_work: float
    """The share by which the row in question was made slower; 0: equal code."""
    alarms: int
    """Comparisons with a row slower or faster, or with exit code 1."""
    rows: dict[str, int]
    """How many rows were called each of `CALLED`; with extra work only the rows that had it."""
    exit_codes: dict[str, int]

    @property
    def of(self) -> int:
        """All rows."""
        return sum(self.rows.values())

    @property
    def moved(self) -> int:
        """Rows called slower or faster."""
        return self.rows["slower"] + self.rows["faster"]


@final
@dataclass(frozen=True)
class MadeRun:
    """One run of the trial: its rows' medians in plain forward passes, and those forward passes in seconds."""

    name: str
    started_utc: str
    seconds: float
    values: dict[str, float]
    extra_work: dict[str, float]
    disturbed: tuple[str, ...]
    """Rows that are not judged: others used the machine, or it was slower than its floor knows."""
    forward_s: dict[str, float] = field(default_factory=dict[str, float])


@final
@dataclass(frozen=True)
class Trial:
    """Everything a trial of the gate found on one machine."""

    machine: Machine
    revision: str | None
    noise: dict[str, dict[str, float]]
    """Per row, by how much equal code differs between two runs and between sides of `SIDE` processes; the smallest
    slow-downs that these make visible; and the share of a change of the machine's pace that the row shows."""
    alike: tuple[Tally, ...]
    loaded: tuple[Tally, ...]
    power: tuple[Tally, ...]
    really_slower: dict[str, float]
    """By extra work aimed at, the median of what it really took: the row's median over the median of those alike."""
    runs: tuple[MadeRun, ...]
    schema: int = SCHEMA

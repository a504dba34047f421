"""What a trial of the gate found, as records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from xaimed_reports.store.records import SCHEMA, Machine

SIDE = 6
"""Processes a side, as `xaimed compare --base` takes."""


@final
@dataclass(frozen=True)
class Count:
    """So many of so many, with the exact 95 % interval of the proportion where the trials do not share runs."""

    hits: int
    of: int
    low: float | None = None
    high: float | None = None


@final
@dataclass(frozen=True)
class Verdicts:
    """How a series of comparisons came out. ``alarms``: comparisons with a false slower or faster, or exit code 1.

    ``not_judged``: rows that something disturbed, of all rows; the other counts of rows are of the rest.
    """

    what: str
    comparisons: int
    alarms: Count
    slower_or_faster: Count
    unknown: Count
    not_judged: Count
    exit_codes: dict[str, int]


@final
@dataclass(frozen=True)
class Power:
    """How often rows with extra work were called slower."""

    extra_work: float
    what: str
    found: Count
    rows: dict[str, Count]


@final
@dataclass(frozen=True)
class Overhead:
    """What the harness adds to a call, as a share of the call's time in a bare loop, with its 95 % interval."""

    call_s: float
    share: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class OverheadFile:
    """What `xaimed trial --overhead` stores."""

    overhead: tuple[Overhead, ...]


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
    disturbed: int
    """Runs set aside and made again, for something disturbed most of their rows."""
    noise: dict[str, dict[str, float]]
    """Per row, by how much equal code differs between two runs and between sides of `SIDE` processes; the smallest
    slow-downs that these make visible; and the share of a change of the machine's pace that ours shows."""
    alike: tuple[Verdicts, ...]
    loaded: tuple[Verdicts, ...]
    power: tuple[Power, ...]
    really_slower: dict[str, float]
    """By extra work aimed at, the median of what it really took: the row's median over the median of those alike."""
    overhead: tuple[Overhead, ...]
    runs: tuple[MadeRun, ...]
    schema: int = SCHEMA

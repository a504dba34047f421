"""A run and its rows: a row was timed, or it was not and says why.

Apart from the records, for the two kinds of row are told apart by msgspec, which comes with the extra ``bench``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, TypeAlias, final

from msgspec import Struct

from xaimed_reports.store.ran import Ran
from xaimed_reports.store.ranges import need_within
from xaimed_reports.store.records import (
    SCHEMA,
    Case,
    Ceiling,
    Conditions,
    Failure,
    Fidelity,
    Machine,
    Memory,
    Part,
    Status,
    Timing,
)


class _Row(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """One case asked of one implementation."""

    case: Case
    impl: str
    what: str
    """The implementation in words, e.g. "grad-cam 1.5.7 XGradCAM"."""
    fidelity: Fidelity | None = None
    """None where there was nothing to compare with, as for the reference itself."""
    allowed: float | None = None
    """The largest difference at which the result still counts as right."""
    notes: tuple[str, ...] = ()
    revision: int = 1
    """Of the definition measured: where it differs, times belong to different questions."""

    def __post_init__(self) -> None:
        """Raise ValueError for an error that nothing could keep."""
        need_within(self, 0, inf, "allowed", "revision")


@final
class Timed(_Row, frozen=True, kw_only=True, tag="timed"):
    """Checked, right, and timed."""

    timing: Timing
    """Of the part, where there is one."""
    memory: Memory
    conditions: Conditions
    forward: Timing | None = None
    """The plain forward pass of the same blocks; None where the question has none."""
    carry_over: float | None = None
    """Median time after another arm over median time after itself; 1 means no carry-over."""
    part: Part | None = None
    """Where only a part was timed."""
    ceiling: Ceiling | None = None
    ran: Ran | None = None
    """None where nobody asked."""

    def __post_init__(self) -> None:
        """Raise ValueError for times that were not taken together."""
        _Row.__post_init__(self)
        need_within(self, 0, inf, "carry_over")
        if self.forward is not None and not self.forward.blocks.keys() & self.timing.blocks.keys():
            raise ValueError("forward and timing share no block, so they were not timed together")

    @property
    def status(self) -> Literal["ok"]:
        """What is wrong is never timed."""
        return "ok"


@final
class Untimed(_Row, frozen=True, kw_only=True, tag="untimed"):
    """Without a time: something went wrong, or only a check was asked for (``ok``)."""

    status: Status
    reason: str | None = None
    """None where a check was asked for and passed."""
    conditions: Conditions | None = None
    """None where the case ended before the first call."""


Row: TypeAlias = Timed | Untimed


def failure(row: Row | None) -> tuple[Failure, str] | None:
    """Why there is no right result, in one word and in a sentence; None where there is one, or no row."""
    if not isinstance(row, Untimed) or row.status == "ok":
        return None
    return row.status, row.reason or "no reason given"


def timed(row: Row | None) -> Timed | None:
    """The row where it was timed, else None."""
    return row if isinstance(row, Timed) else None


@final
@dataclass(frozen=True)
class Run:
    """Everything one benchmark run left."""

    machine: Machine
    profile: str
    images_from: str
    """Where the images came from, in words and without a path: e.g. "phantoms (mri), seed 0"."""
    revision: str | None
    """The git commit measured, with "+" for uncommitted changes; None outside a checkout."""
    started_utc: str
    seconds: float
    rows: tuple[Row, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Raise ValueError for a time below zero."""
        if self.seconds < 0:
            raise ValueError(f"seconds must not be negative, got {self.seconds:g}")

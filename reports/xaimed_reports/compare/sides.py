"""What two sides of a comparison have in common: which rows, which machine, which conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import final

from xaimed_reports.compare.pace import forward_of
from xaimed_reports.format import XAIMED, program, times
from xaimed_reports.store.records import OURS, REFERENCE
from xaimed_reports.store.rows import Row, Run, Timed, timed

LOADED_SHARE = 0.15
"""Times are doubtful when others took more than this share of the machine: processes, or the hypervisor."""


@final
@dataclass(frozen=True)
class Side:
    """One side's runs: one stored run, or one per process."""

    runs: tuple[Run, ...]
    rows: dict[str, tuple[Row, ...]] = field(init=False)
    """xaimed's rows by case key, one per run that has the case."""
    timed: dict[str, tuple[Timed, ...]] = field(init=False)
    """Those of which all runs timed the case."""

    def __post_init__(self) -> None:
        """Gather the rows. Raises ValueError without a run."""
        if not self.runs:
            raise ValueError("a side of a comparison needs at least one run")
        found: dict[str, tuple[Row, ...]] = {}
        for run in self.runs:
            for row in run.rows:
                if row.impl == OURS:
                    found[row.case.key] = (*found.get(row.case.key, ()), row)
        all_timed = {k: tuple(row for row in rows if isinstance(row, Timed)) for k, rows in found.items()}
        object.__setattr__(self, "rows", found)
        object.__setattr__(
            self, "timed", {k: rows for k, rows in all_timed.items() if len(rows) == len(found[k])}
        )


def loaded(rows: tuple[Row, ...]) -> bool:
    """Whether others used more than `LOADED_SHARE` of the machine while these rows were measured."""
    shares = [
        row.conditions.others_share
        for row in rows
        if row.conditions is not None and row.conditions.others_share is not None
    ]
    return bool(shares) and median(shares) > LOADED_SHARE


def throttled(row: Row) -> str:
    """What held the GPU's clocks down before or after this row; empty where nothing did, or nobody knows."""
    gpu = row.conditions.gpu if row.conditions is not None else None
    found = [str(gpu[k]) for k in ("throttled_by before", "throttled_by after") if gpu.get(k)] if gpu else []
    return ", ".join(dict.fromkeys(found))


def why_incomparable(old: Side, now: Side, key: str) -> str | None:
    """Why the times of a row that both sides timed must not be compared, or None."""
    a, b = old.runs[0].machine, now.runs[0].machine
    for name in ("torch", "triton", "grad-cam"):
        if a.versions.get(name) != b.versions.get(name):
            return f"{name} {a.versions.get(name, 'absent')} before, {b.versions.get(name, 'absent')} now"
    drivers = [m.gpu.driver if m.gpu is not None else None for m in (a, b)]
    if drivers[0] != drivers[1]:
        return f"driver {drivers[0]} before, {drivers[1]} now"
    if (a.gpu is None) != (b.gpu is None):
        return "one side was measured on a GPU, the other on a CPU"
    if a.threads != b.threads:
        return f"{a.threads} threads before, {b.threads} now"
    revisions = old.rows[key][0].revision, now.rows[key][0].revision
    if revisions[0] != revisions[1]:
        return f"the definition changed (revision {revisions[0]} before, {revisions[1]} now)"
    forwards = [side.timed[key][0].forward for side in (old, now)]
    if (forwards[0] is None) != (forwards[1] is None):
        return "only one side timed the plain forward pass"
    if forwards[0] is None and not _same_device(old, now):
        return "seconds of another device, and no plain forward pass to compare by"
    return None


def _same_device(old: Side, now: Side) -> bool:
    a, b = old.runs[0].machine, now.runs[0].machine
    return (a.cpu, a.cores, a.gpu and a.gpu.uuid_sha256) == (b.cpu, b.cores, b.gpu and b.gpu.uuid_sha256)


def shown(old: Side, now: Side, key: str) -> str:
    """What is shown of a row that both sides timed, never judged: seconds on one device, ratios to the reference."""
    parts: list[str] = []
    a, b = (side.timed[key][0] for side in (old, now))
    if _same_device(old, now):
        parts.append(f"seconds {b.timing.typical_s / a.timing.typical_s:.3f}")
        forwards = [forward_of(row) for row in (a, b)]
        if forwards[0] is not None and forwards[1] is not None:
            parts.append(f"forward {forwards[1] / forwards[0]:.3f}")
    before, after = (_to_reference(side, key) for side in (old, now))
    if before is not None and after is not None:
        parts.append(f"{after[0]} / {XAIMED} {times(before[1])} then {times(after[1])}")
    return ", ".join(parts)


def _to_reference(side: Side, key: str) -> tuple[str, float] | None:
    """The reference's name, and its time over xaimed's."""
    rows = (row for row in side.runs[0].rows if row.impl == REFERENCE and row.case.key == key)
    row = timed(next(rows, None))
    return (
        (program(row), row.timing.typical_s / side.timed[key][0].timing.typical_s)
        if row is not None
        else None
    )

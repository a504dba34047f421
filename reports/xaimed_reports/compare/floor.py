"""The noise floor: how far apart runs of the same code lie on one machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, pi, sqrt
from pathlib import Path
from typing import final

from scipy import stats

from xaimed_reports.compare.disturbance import disturbance
from xaimed_reports.compare.pace import Pace, pace_of, scatter
from xaimed_reports.compare.ratio import EQUAL
from xaimed_reports.compare.sides import Side
from xaimed_reports.compare.statistics import LEVEL
from xaimed_reports.store.jsonform import UnreadableError, from_json, read_object, to_json
from xaimed_reports.store.kinds import named
from xaimed_reports.store.records import SCHEMA, Machine
from xaimed_reports.store.rows import Run, Timed
from xaimed_reports.store.writing import write_whole

FEWEST_RUNS = 4


@final
@dataclass(frozen=True)
class Floor:
    """How much equal code differs on one machine, from an A/A experiment."""

    machine: Machine
    spread: dict[str, float]
    """Per row, the standard deviation of the logarithm of a process's median, at the usual pace."""
    runs: dict[str, int]
    """Per row, how many processes that was estimated from."""
    pace: dict[str, Pace] = field(default_factory=dict[str, Pace])
    """Per row with a forward pass, the machine's usual pace."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be a floor: a row's spread comes from two runs or more."""
        if self.spread.keys() != self.runs.keys() or not self.pace.keys() <= self.spread.keys():
            raise ValueError("spread and runs must name the same rows, and pace none besides")
        if not all(0 <= spread < 10 for spread in self.spread.values()):
            raise ValueError("every spread must lie between 0 and 10")
        if any(count < 2 for count in self.runs.values()):
            raise ValueError("a spread needs 2 runs at least")
        if not 1 <= self.schema <= SCHEMA:
            raise ValueError(
                f"schema {self.schema} is not one of 1 to {SCHEMA}, which this xaimed reads; upgrade it"
            )

    def differ(self, key: str, *, processes: int = 1, among: int = 1) -> float:
        """The share by which two sides of equal code differ at most in 95 of 100 comparisons.

        A prediction limit by Student's t, wider the fewer runs the spread was estimated from. ``processes``: a side's
        units, of which the median is taken. ``among``: so many rows keep their limits at once (Bonferroni).
        """
        of_a_side = 1.0 if processes == 1 else sqrt(pi / 2 / processes)
        reach = float(stats.t.ppf(1 - LEVEL / 2 / among, self.runs[key] - 1))
        return exp(reach * sqrt(2) * of_a_side * self.spread[key]) - 1

    def fits(self, machine: Machine) -> bool:
        """Whether this is the floor of such a machine."""
        return _kind(self.machine) == _kind(machine)


def floor_of(runs: Sequence[Run]) -> Floor:
    """The floor from runs of one code; 12 are better than the `FEWEST_RUNS` it needs.

    Rows that something disturbed are left out.
    """
    if len(runs) < FEWEST_RUNS:
        raise ValueError(f"a noise floor needs {FEWEST_RUNS} runs of the same code at least, got {len(runs)}")
    quiet = {
        key: [row for row in rows if isinstance(row, Timed) and disturbance(row) is None]
        for key, rows in Side(tuple(runs)).rows.items()
    }
    known = {key: rows for key, rows in quiet.items() if len(rows) >= FEWEST_RUNS}
    pace = {key: found for key, rows in known.items() if (found := pace_of(rows)) is not None}
    return Floor(
        runs[0].machine,
        spread={key: scatter(rows, pace.get(key)) for key, rows in known.items()},
        runs={key: len(rows) for key, rows in known.items()},
        pace=pace,
    )


def smallest_visible_effect(floor: Floor, key: str, *, processes: int) -> float:
    """The slow-down that sides of ``processes`` find more often than not: beyond the threshold by the noise again."""
    among = len(floor.spread)
    threshold = max(EQUAL, floor.differ(key, processes=processes, among=among))
    return (1 + threshold) * (1 + floor.differ(key, processes=processes)) - 1


def store_floor(floor: Floor, path: Path, *, processes: int) -> None:
    """Write the floor, which belongs to this machine alone, and what it makes visible."""
    visible = {
        key: {
            words: smallest_visible_effect(floor, key, processes=count)
            for words, count in (("two runs", 1), (f"sides of {processes}", processes))
        }
        for key in floor.spread
    }
    stored = {"floor": to_json(floor), "smallest_visible_effect": visible}
    write_whole(path, json.dumps(stored, indent=1))


def load_floor(path: Path, machine: Machine) -> Floor | None:
    """The stored floor where it was measured on such a machine; None where there is no file, or another's."""
    if not path.exists():
        return None
    data = read_object(path)
    stored = data.get("floor")
    if stored is None:
        raise UnreadableError(
            f"{path.name}: {named(data, 'holds no floor')}; measure a floor with: xaimed compare --floor"
        )
    floor = from_json(Floor, stored, path.name)
    return floor if floor.fits(machine) else None


def _kind(machine: Machine) -> tuple[str, int, int, str | None]:
    return machine.cpu, machine.cores, machine.threads, machine.gpu.name if machine.gpu is not None else None

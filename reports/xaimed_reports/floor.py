"""The noise floor: how far apart runs of the same code lie on one machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, pi, sqrt
from pathlib import Path
from statistics import median, stdev
from typing import Any, final

from scipy import stats

from .jsonform import UnreadableError, from_json, to_json
from .ratio import EQUAL
from .records import SCHEMA, Machine, Run
from .sides import Side, loaded, unit_values
from .statistics import LEVEL

FEWEST_RUNS = 4


@final
@dataclass(frozen=True)
class Floor:
    """How much equal code differs on one machine, from an A/A experiment."""

    machine: Machine
    spread: dict[str, float]
    """Per row, the standard deviation of the logarithm of a process's median."""
    runs: dict[str, int]
    """Per row, how many processes that was estimated from."""
    schema: int = SCHEMA

    def differ(self, key: str, *, processes: int = 1, among: int = 1) -> float:
        """The share by which two sides of equal code differ at most in 95 of 100 comparisons.

        A prediction limit by Student's t, wider the fewer runs the spread was estimated from. ``processes``: a side's
        units, of which the median is taken. ``among``: so many rows keep their limits at once (Bonferroni).
        """
        of_a_side = 1.0 if processes == 1 else sqrt(pi / 2 / processes)
        reach = float(stats.t.ppf(1 - LEVEL / 2 / among, self.runs[key] - 1))
        return exp(reach * sqrt(2) * of_a_side * self.spread[key]) - 1


def floor_of(runs: Sequence[Run]) -> Floor:
    """The floor from runs of one code; 12 are better than the `FEWEST_RUNS` it needs.

    Rows during which others used the machine are left out.
    """
    if len(runs) < FEWEST_RUNS:
        raise ValueError(f"a noise floor needs {FEWEST_RUNS} runs of the same code at least, got {len(runs)}")
    centres = {
        key: [log(median(values)) for row in rows if not loaded((row,)) and (values := unit_values(row))]
        for key, rows in Side(tuple(runs)).rows.items()
    }
    known = {key: values for key, values in centres.items() if len(values) >= FEWEST_RUNS}
    return Floor(
        runs[0].machine,
        spread={key: stdev(values) for key, values in known.items()},
        runs={key: len(values) for key, values in known.items()},
    )


def smallest_visible_effect(floor: Floor, key: str, *, processes: int) -> float:
    """The slow-down that sides of ``processes`` find more often than not: beyond the threshold by the noise again."""
    among = len(floor.spread)
    threshold = max(EQUAL, floor.differ(key, processes=processes, among=among))
    return (1 + threshold) * (1 + floor.differ(key, processes=processes)) - 1


def store_floor(floor: Floor, path: Path) -> None:
    """Write the floor; it belongs to this machine alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"floor": to_json(floor)}, indent=1), encoding="utf-8")


def load_floor(path: Path, machine: Machine) -> Floor | None:
    """The stored floor where it was measured on such a machine; None where there is no file, or another's."""
    if not path.exists():
        return None
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableError(f"{path.name}: not JSON") from error
    if not isinstance(stored, dict):
        raise UnreadableError(f"{path.name}: holds no floor")
    floor = from_json(Floor, stored.get("floor"), path.name)
    return floor if _kind(floor.machine) == _kind(machine) else None


def _kind(machine: Machine) -> tuple[str, int, int, str | None]:
    return machine.cpu, machine.cores, machine.threads, machine.gpu.name if machine.gpu is not None else None

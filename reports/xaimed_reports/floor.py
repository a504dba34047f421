"""The noise floor: how far apart runs of the same code lie on one machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any, final

import numpy as np

from .jsonform import UnreadableError, from_json, to_json
from .ratio import EQUAL
from .records import SCHEMA, Machine, Run
from .sides import Side, unit_values
from .statistics import SEED

COVERED = 0.95


@final
@dataclass(frozen=True)
class Floor:
    """One machine's floor, per row: 0.04 says that 95 of 100 comparisons of the same code differ by less than 4 %."""

    machine: Machine
    runs: int
    single: dict[str, float]
    """Between two single runs."""
    sides: dict[str, float]
    """Between the medians of two halves of the runs, each a process."""
    schema: int = SCHEMA


def floor_of(runs: Sequence[Run]) -> Floor:
    """The floor from an A/A experiment. Needs 4 runs of one code at least; 12 are better."""
    if len(runs) < 4:
        raise ValueError(f"a noise floor needs 4 runs of the same code at least, got {len(runs)}")
    centres = {
        key: [median(values) for row in rows if (values := unit_values(row))]
        for key, rows in Side(tuple(runs)).rows.items()
    }
    known = {key: values for key, values in centres.items() if len(values) >= 4}
    return Floor(
        runs[0].machine,
        len(runs),
        single={key: _covered(combinations(values, 2)) for key, values in known.items()},
        sides={key: _covered(_halves(values)) for key, values in known.items()},
    )


def _covered(pairs: Iterable[tuple[float, float]]) -> float:
    """The share by which `COVERED` of the pairs differ at most."""
    return exp(float(np.quantile([abs(log(a / b)) for a, b in pairs], COVERED))) - 1


def _halves(values: Sequence[float], splits: int = 500) -> Iterator[tuple[float, float]]:
    """Medians of random disjoint halves."""
    random = np.random.default_rng(SEED)
    half = len(values) // 2
    for _ in range(splits):
        mixed = random.permutation(values)
        yield float(np.median(mixed[:half])), float(np.median(mixed[half : 2 * half]))


def smallest_visible_effect(floor: Floor, key: str) -> float:
    """The slow-down that alternating processes find more often than not: beyond the threshold by the floor again."""
    return max(EQUAL, floor.sides[key]) + floor.sides[key]


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
    except ValueError as error:
        raise UnreadableError(f"{path.name}: not JSON") from error
    floor = from_json(Floor, stored.get("floor") if isinstance(stored, dict) else None, path.name)
    return floor if _kind(floor.machine) == _kind(machine) else None


def _kind(machine: Machine) -> tuple[str, int, int, str | None]:
    return machine.cpu, machine.cores, machine.threads, machine.gpu.name if machine.gpu is not None else None

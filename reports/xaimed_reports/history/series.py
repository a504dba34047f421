"""Points that may be compared: one row, one metric, one machine, one environment, one definition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from xaimed_reports.history.points import Metric, Point
from xaimed_reports.history.store import Stored

BREAKS = ("CPU", "cores", "threads", "GPU", "driver", "torch", "triton", "images")
"""A change of one of these ends a series, as does another definition of the row."""


@final
@dataclass(frozen=True)
class Series:
    """The points of one row and metric that may be compared, oldest first."""

    row: str
    metric: Metric
    machine: str
    runs: tuple[Stored, ...]
    points: tuple[Point, ...]
    broke: str = ""
    """What ended the series before, e.g. "torch 2.13.0 -> 2.14.0"; "" for the first of the row."""

    @property
    def values(self) -> list[float]:
        """The points' values."""
        return [point.value for point in self.points]


def series(history: Sequence[Stored], metric: Metric) -> list[Series]:
    """All series of one metric, in the order of rows; those of one row from the oldest to the newest."""
    found: dict[str, dict[tuple[str, ...], tuple[list[Stored], list[Point]]]] = {}
    for stored in history:
        around = tuple(stored.entry.environment.get(name, "") for name in BREAKS)
        for point in stored.entry.points:
            if point.metric == metric:
                key = (*around, str(point.revision))
                runs, points = found.setdefault(point.row, {}).setdefault(key, ([], []))
                runs.append(stored)
                points.append(point)
    return [
        Series(row, metric, runs[0].entry.machine, tuple(runs), tuple(points), _broke(list(keyed), i))
        for row, keyed in found.items()
        for i, (runs, points) in enumerate(keyed.values())
    ]


def _broke(keys: Sequence[tuple[str, ...]], i: int) -> str:
    """How key i differs from the earlier one that is most like it."""
    if i == 0:
        return ""
    names = (*BREAKS, "definition")
    earlier = max(keys[:i], key=lambda key: sum(a == b for a, b in zip(key, keys[i], strict=True)))
    return ", ".join(
        f"{name} {a or 'none'} -> {b or 'none'}"
        for name, a, b in zip(names, earlier, keys[i], strict=True)
        if a != b
    )

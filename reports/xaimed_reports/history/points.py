"""A run as a history keeps it: a few numbers per row, and all that times may depend on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Literal, final

from xaimed_reports.compare.disturbance import disturbance
from xaimed_reports.compare.pace import forward_of, values_at
from xaimed_reports.compare.ratio import interval_of_median
from xaimed_reports.store.devices import device_name
from xaimed_reports.store.records import OURS
from xaimed_reports.store.rows import Row, Run, failure, timed

Metric = Literal["time", "disturbed", "memory", "difference", "forward"]
METRICS: dict[Metric, str] = {
    "time": "time in plain forward passes (seconds where none was timed)",
    "disturbed": "the same where something disturbed the machine (`compare.disturbance`): kept, and never judged",
    "memory": "peak memory above what was resident, bytes",
    "difference": "largest difference from the reference",
    "forward": "the plain forward pass, seconds: the machine's pace",
}
"""What is kept of a row, and its unit."""


@final
@dataclass(frozen=True)
class Point:
    """One number of one row. ``low`` and ``high`` bound its median with 95 % where the run has blocks enough."""

    row: str
    """The case's key, e.g. ``explaining[xgradcam-resnet50-last-4-fp32]``."""
    metric: Metric
    value: float
    low: float
    high: float
    revision: int
    """Of the definition measured."""


@final
@dataclass(frozen=True)
class Broken:
    """A row without a result: ``status`` in one word, e.g. "wrong"."""

    row: str
    status: str


@final
@dataclass(frozen=True)
class Entry:
    """What the history keeps of one run."""

    revision: str
    """The commit, "" where none is known."""
    started_utc: str
    machine: str
    environment: dict[str, str]
    """What a time may depend on besides the code: device, threads, driver, torch, triton, grad-cam, flags."""
    points: tuple[Point, ...]
    """In the order of rows, then metrics."""
    broken: tuple[Broken, ...]
    figures: str = ""
    """Digest of the compiled kernels' figures; "" where they were not given."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that is kept: the same run twice, or a value changed by hand, shows."""
        held = vars(self) | {"points": [*map(vars, self.points)], "broken": [*map(vars, self.broken)]}
        text = json.dumps(held, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def entry(run: Run, figures: str = "") -> Entry:
    """What is kept of a run: rows of xaimed alone. Raises ValueError where it has none."""
    rows = [row for row in run.rows if row.impl == OURS]
    if not rows:
        raise ValueError("the run holds no row of xaimed: there is nothing to remember")
    broken = [Broken(row.case.key, found[0]) for row in rows if (found := failure(row)) is not None]
    if doubled := [key for key, n in Counter(row.case.key for row in rows).items() if n > 1]:
        raise ValueError(f"the run holds {doubled[0]} twice")
    points = (point for row in rows for point in _points(row))
    return Entry(
        revision=run.revision or "",
        started_utc=run.started_utc,
        machine=device_name(run.machine),
        environment=_environment(run),
        points=tuple(sorted(points, key=lambda point: (point.row, point.metric))),
        broken=tuple(sorted(broken, key=lambda each: each.row)),
        figures=figures,
    )


def _environment(run: Run) -> dict[str, str]:
    machine, gpu = run.machine, run.machine.gpu
    return {
        "CPU": machine.cpu,
        "cores": str(machine.cores),
        "threads": str(machine.threads),
        "GPU": "" if gpu is None else f"{gpu.name} {gpu.uuid_sha256 or ''}".strip(),
        "driver": "" if gpu is None else gpu.driver or "",
        **{name: machine.versions.get(name, "") for name in ("python", "torch", "triton", "grad-cam")},
        "images": run.images_from,
        **machine.flags,
    }


def _points(row: Row) -> list[Point]:
    found = timed(row)
    if found is None:
        return []
    times = values_at(found, None)
    low, high, _ = interval_of_median(times)
    kind: Metric = "time" if disturbance(found) is None else "disturbed"
    single: list[tuple[Metric, float | None]] = [
        ("memory", found.memory.peak_bytes),
        ("difference", None if found.fidelity is None else found.fidelity.largest),
        ("forward", forward_of(found)),
    ]
    return [
        Point(row.case.key, kind, median(times), low, high, row.revision),
        *(
            Point(row.case.key, metric, float(value), float(value), float(value), row.revision)
            for metric, value in single
            if value is not None
        ),
    ]

"""An evaluation as it is stored: means over images with intervals, and what was found between methods."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from xaimed_reports.store.jsonform import UnreadableError, from_json, read_object, to_json
from xaimed_reports.store.kinds import named

SCHEMA = 1


@final
@dataclass(frozen=True)
class Accuracy:
    """How often the network is right. ``value``: None where there is no such image."""

    what: str
    images: int
    value: float | None


@final
@dataclass(frozen=True)
class Cell:
    """One metric of one method's maps at one layer, over the images of one group.

    ``group``: "all", "correct", "wrong" (predictions), or "class NAME". ``low``, ``high``: 95 % by bootstrap over
    images; None where there are too few.
    """

    layer: str
    method: str
    metric: str
    group: str
    images: int
    mean: float
    low: float | None = None
    high: float | None = None


@final
@dataclass(frozen=True)
class Pair:
    """Two methods on the same images. ``mean``: of first minus second; ``p`` of Wilcoxon's test; ``differ`` by Holm."""

    layer: str
    metric: str
    first: str
    second: str
    mean: float
    images: int
    p: float
    differ: bool


@final
@dataclass(frozen=True)
class Cost:
    """One method's time in plain forward passes, with the interval, and its peak memory above what was resident."""

    layer: str
    method: str
    forwards: float
    low: float
    high: float
    peak_bytes: int | None


@final
@dataclass(frozen=True)
class Spent:
    """What the evaluation took, over the time of the plain forwards that it cannot do without; medians of ``batches``.

    ``needed``: forwards of each image: as it is, and as the metrics perturb it; ``batch`` images at a time. ``whole``:
    everything but reading images and writing rows; ``parts``: by name, each in the same unit. ``tenth_bytes``,
    ``peak_bytes``: a process' peak resident memory after a tenth of all batches, and after all; None where unknown.
    """

    needed: int
    batch: int
    batches: int
    whole: float
    parts: dict[str, float]
    tenth_bytes: int | None = None
    peak_bytes: int | None = None


@final
@dataclass(frozen=True)
class Evaluation:
    """Everything that an evaluation found, without an image's name.

    ``init``: where the weights come from, in a sentence; ``recipe``: what their training began with, where it is known.
    ``removed``: the fractions of ROAD; ``steps`` those of deletion and insertion. ``negative``: by layer the part of
    its values below 0. ``threshold``: of iou, in words. ``spent``: None where no batch was timed.
    """

    network: str
    init: str
    data: str
    split: str
    layers: dict[str, str]
    images: int
    classes: tuple[str, ...]
    removed: tuple[float, ...]
    accuracy: tuple[Accuracy, ...]
    cells: tuple[Cell, ...]
    pairs: tuple[Pair, ...]
    costs: tuple[Cost, ...] = ()
    machine: str = ""
    recipe: dict[str, str] = field(default_factory=dict[str, str])
    negative: dict[str, float] = field(default_factory=dict[str, float])
    steps: int | None = None
    threshold: str = ""
    spent: Spent | None = None
    command: str = ""
    schema: int = SCHEMA

    def cell(self, layer: str, method: str, metric: str, group: str = "all") -> Cell | None:
        """The cell, or None where there is none."""
        key = layer, method, metric, group
        return next((c for c in self.cells if (c.layer, c.method, c.metric, c.group) == key), None)

    def methods(self, layer: str) -> list[str]:
        """The maps at a layer ("" for those of no layer), in the order evaluated."""
        return list(dict.fromkeys(cell.method for cell in self.cells if cell.layer == layer))

    def metrics(self) -> list[str]:
        """The metrics, in the order evaluated."""
        return list(dict.fromkeys(cell.metric for cell in self.cells))


def store(found: Evaluation) -> str:
    """The JSON text."""
    return json.dumps({"evaluation": to_json(found)}, indent=1, allow_nan=False) + "\n"


def load(path: Path) -> Evaluation:
    """Read a summary.json. Raises UnreadableError with one line."""
    data = read_object(path)
    stored = data.get("evaluation")
    if not isinstance(stored, dict):
        raise UnreadableError(f"{path.name}: {named(data, 'no evaluation')}; make one with: xaimed evaluate")
    if stored.get("schema") != SCHEMA:  # pyright: ignore[reportUnknownMemberType]
        raise UnreadableError(f"{path.name}: an evaluation of another schema; upgrade xaimed")
    return from_json(Evaluation, stored, path.name)


def ranked(found: Evaluation, layer: str, metric: str) -> Sequence[Cell]:
    """The cells of a layer for one metric over all images, highest first."""
    cells = [c for c in found.cells if (c.layer, c.metric, c.group) == (layer, metric, "all")]
    return sorted(cells, key=lambda cell: cell.mean, reverse=True)

"""The profile card of a device: what each part of it holds, and how it is stored.

History of the schema:
    1  roofs, methods, kernels, ROAD, agreement, memory, energy, largest batch.
    2  what counted kernels take on a GPU at least, predicted.

Every part is None until it was measured. A field that could not be measured is None with a ``reason`` beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from xaimed_reports.store.devices import device_folder
from xaimed_reports.store.jsonform import UnreadableError, from_json, read_object, to_json
from xaimed_reports.store.kinds import kind_of, named
from xaimed_reports.store.records import Conditions, Machine
from xaimed_reports.store.writing import write_whole

CARD_SCHEMA = 2
LARGEST_RATE = 1e30
"""Bytes or operations a second that no device reaches: what is read beyond it is damaged."""


@final
@dataclass(frozen=True)
class Roofs:
    """What the device can do at most, as measured. Bytes count read plus written; a multiply-add counts two."""

    copy_bytes_per_s: float
    copy_bytes: int
    """Of the tensor copied: beyond every cache where memory allows."""
    matrix_flops_per_s: dict[str, float]
    """By precision; "fp32" without TF32."""
    matrix_side: int
    launch_s: float
    """What one more small operation costs where many are queued."""
    round_trip_s: float
    """One small operation, started and waited for."""

    def __post_init__(self) -> None:
        if not self.matrix_flops_per_s or not all(
            1 <= rate < LARGEST_RATE for rate in (self.copy_bytes_per_s, *self.matrix_flops_per_s.values())
        ):
            raise ValueError(f"every roof must lie between 1 and {LARGEST_RATE:g} a second")


@final
@dataclass(frozen=True)
class MethodRate:
    """Images per second of one method in one variant; ``forwards``: its time in plain forwards of that variant."""

    method: str
    variant: str
    batch: int
    images_per_s: float | None = None
    forwards: float | None = None
    low: float | None = None
    high: float | None = None
    """The interval of ``forwards``."""
    reason: str | None = None


@final
@dataclass(frozen=True)
class KernelShare:
    """One operation at one shape beside the copy roof, timed in the same blocks.

    ``moved_bytes``: what a fully fused operation must move, each input and output once; ``flops``: what the algorithm
    computes, about. ``copy_share``: rate of these bytes over the copy's rate. ``roof_share``: the least time that
    the roofs allow over the time taken; ``limit``: which roof that is.
    """

    operation: str
    case: str
    path: Literal["triton", "cpu"]
    moved_bytes: int
    flops: float
    seconds: float
    copy_share: float
    low: float
    high: float
    """The interval of ``copy_share``."""
    roof_share: float
    limit: str

    def __post_init__(self) -> None:
        """Raise ValueError for what no operation moves, computes or takes."""
        if not (self.moved_bytes >= 1 <= self.flops < LARGEST_RATE and 1e-12 < self.seconds < 1e9):
            raise ValueError("moved_bytes and flops must be 1 at least, and seconds a time above 0")


@final
@dataclass(frozen=True)
class Rates:
    """What bounds a kernel on a GPU, by the second: warp instructions issued, and bytes copied (read plus written)."""

    issue_per_s: float
    bytes_per_s: float

    def __post_init__(self) -> None:
        if not all(1 <= rate < LARGEST_RATE for rate in (self.issue_per_s, self.bytes_per_s)):
            raise ValueError(f"both rates must lie between 1 and {LARGEST_RATE:g} a second")


@final
@dataclass(frozen=True)
class PredictedTime:
    """What one operation takes at least, from its counted kernels: predicted, not measured.

    ``warp_instructions`` and ``touched_bytes``: executed and touched by all launches, whole sectors counted.
    ``needed_bytes``: each input and output once. ``seconds``: over the kernels, the longer of issuing and moving;
    ``likely_s``: the same where half of the issue rate is reached, as for kernels with reductions and barriers.
    """

    operation: str
    case: str
    launches: int
    warp_instructions: int
    touched_bytes: int
    needed_bytes: int
    seconds: float
    likely_s: float

    def __post_init__(self) -> None:
        """Raise ValueError for what no operation does or takes."""
        counted = (self.launches, self.warp_instructions, self.touched_bytes, self.needed_bytes)
        if min(counted) < 1 or not 0 < self.seconds <= self.likely_s < 1e9:
            raise ValueError("counts must be 1 at least, and likely_s a time of at least seconds")

    def copy_share(self, rates: Rates) -> float:
        """What copying each input and output once would take, over ``likely_s``."""
        return self.needed_bytes / rates.bytes_per_s / self.likely_s

    @property
    def limit(self) -> Literal["issue rate", "bandwidth"]:
        """What bounds most of ``likely_s``: half of the issue rate lengthens it, or does not."""
        return "issue rate" if self.likely_s > self.seconds * 1.001 else "bandwidth"


@final
@dataclass(frozen=True)
class Predicted:
    """Predicted times for a GPU of these rates, ``how`` they are known, and the compiler whose kernels were counted."""

    rates: Rates
    how: Literal["given", "measured"]
    compiler: str
    rows: tuple[PredictedTime, ...]


@final
@dataclass(frozen=True)
class RoadRate:
    """ROAD of a batch; ``imputer_share``: of its time spent on filling removed pixels, with its interval."""

    batch: int
    perturbed: int
    """Perturbed images that one image needs."""
    images_per_s: float
    forwards: float
    imputer_share: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class Agreement:
    """How far a variant's maps in [0, 1] lie from the same definition computed in float64."""

    method: str
    variant: str
    largest: float | None = None
    rms: float | None = None
    reason: str | None = None


@final
@dataclass(frozen=True)
class PeakMemory:
    """The peak above what was resident, of one call at one batch."""

    what: str
    batch: int
    peak_bytes: int | None
    reason: str | None = None


@final
@dataclass(frozen=True)
class EnergyUse:
    """Energy of the whole device over a window of repeated calls, its idle share included."""

    what: str
    batch: int
    joules_per_image: float | None = None
    watts: float | None = None
    window_s: float | None = None
    reason: str | None = None


@final
@dataclass(frozen=True)
class LargestBatch:
    """The largest batch that fits; ``how`` it was found: tried out, or computed from measured memory."""

    what: str
    batch: int | None
    how: str
    reason: str | None = None


@final
@dataclass(frozen=True)
class Taken:
    """When a part was measured, in which revision of the code, and what the machine did meanwhile."""

    started_utc: str
    seconds: float
    revision: str | None
    conditions: Conditions


@final
@dataclass(frozen=True)
class Card:
    """Everything measured of one device."""

    machine: Machine
    subject: str = ""
    """What was explained: model, layer, size of the images."""
    roofs: Roofs | None = None
    methods: tuple[MethodRate, ...] | None = None
    kernels: tuple[KernelShare, ...] | None = None
    predicted: Predicted | None = None
    road: RoadRate | None = None
    agreement: tuple[Agreement, ...] | None = None
    memory: tuple[PeakMemory, ...] | None = None
    energy: tuple[EnergyUse, ...] | None = None
    largest: tuple[LargestBatch, ...] | None = None
    taken: dict[str, Taken] = field(default_factory=dict[str, Taken])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Parts that ended in an error, and which."""
    schema: int = CARD_SCHEMA


PARTS = ("roofs", "methods", "kernels", "predicted", "road", "agreement", "memory", "energy", "largest")
"""The parts in the order in which they are measured and shown."""


def store_card(path: Path, card: Card) -> None:
    """Write the card; a reader never sees half of one."""
    write_whole(path, json.dumps(to_json(card), indent=1, allow_nan=False))


def load_card(path: Path) -> Card:
    """Read a card. Raises UnreadableError with one line that says what is wrong."""
    data = read_object(path)
    schema = data.get("schema") if kind_of(data) == "card" else None
    if not isinstance(schema, int) or not 1 <= schema <= CARD_SCHEMA:
        what = named(data, f"not a profile card of schema 1 to {CARD_SCHEMA}")
        raise UnreadableError(f"{path.name}: {what}; make a card with: xaimed profile")
    return from_json(Card, data, path.name)


def card_beside(run: Path, machine: Machine) -> Card | None:
    """The card ``profile.json`` in the folder of a stored run, if it is of the same device; else None."""
    path = run.parent / "profile.json"
    if not path.exists():
        return None
    try:
        found = load_card(path)
    except UnreadableError:
        return None
    return found if device_folder(found.machine) == device_folder(machine) else None

"""What a result is: frozen records, written as JSON under one schema number.

History of the schema:
    1  rows with raw samples, memory above resident, fidelity, conditions; a machine; a run.
    2  rows may also hold the part of a computation that was timed, and its ceiling. (What maps are worth, which some of
       these rows hold too, is not read any more: `xaimed evaluate` judges maps.)
    3  a row is timed or untimed and says which (``kind``); it may say what ran, which was in words among its notes.

A run (`xaimed_reports.store.rows`) is stored in pytest-benchmark's own JSON: every timed row in its benchmark's
``extra_info["xaimed"]``, the rest under the top-level key ``xaimed``. The journal holds the same records, one JSON
object a line. `xaimed_reports.store.older` makes rows of schemas 1 and 2 into today's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from statistics import median
from typing import Literal, final

from xaimed_reports.store.ranges import ROUNDED, need_shares, need_within

SCHEMA = 3

Failure = Literal["wrong", "degenerate", "oom", "failed", "skipped"]
Status = Literal["ok"] | Failure
"""ok: checked and right. wrong: beyond the allowed error. degenerate: the reference map has no spread.
oom: memory ran out. failed: raised an error. skipped: not run, and ``reason`` says why."""

OURS = "ours"
REFERENCE = "reference"


@final
@dataclass(frozen=True)
class Case:
    """What is measured: the question (a bench function) and one value per axis, e.g. method, model, batch."""

    bench: str
    axes: dict[str, str]
    images: int
    """0 where the case was left out before it began."""

    def __post_init__(self) -> None:
        """Raise ValueError for fewer images than none."""
        need_within(self, 0, inf, "images")

    @property
    def key(self) -> str:
        """The join key of every later comparison, e.g. ``explaining[xgradcam-resnet50-last-4-fp32]``."""
        return f"{self.bench}[{'-'.join(self.axes.values())}]"


@final
@dataclass(frozen=True)
class Timing:
    """Raw samples of one arm, in the order taken. Nothing is dropped, averaged or corrected."""

    wall_s: tuple[float, ...]
    """Seconds from call to result, the device synchronised at both ends."""
    block: tuple[int, ...]
    """Which interleaved block each sample belongs to: the unit of every resampling."""
    after: tuple[str, ...]
    """The arm that ran just before each sample."""
    first_s: float
    """The first call ever, with whatever compiling and tuning it brought."""
    warm_up_s: float
    """Spent on calls between the first one and the first sample."""
    device_s: tuple[float, ...] | None = None
    """Between two CUDA events around the call; None without CUDA."""
    cache: str = "as the arm before left it"
    """The state of the last-level cache before each sample."""
    arm: str = ""
    """Whose samples these are, as named in ``after``."""
    order: Literal["interleaved", "separated"] = "interleaved"
    """separated: carry-over from other arms exceeded the noise, so only samples after the arm itself count."""

    def __post_init__(self) -> None:
        """Raise ValueError where the fields do not describe the same samples, or one is no time."""
        lengths = {len(self.wall_s), len(self.block), len(self.after), len(self.device_s or self.wall_s)}
        if len(lengths) != 1 or not self.wall_s:
            raise ValueError(
                f"wall_s, block, after and device_s must be of one length above 0, got {sorted(lengths)}"
            )
        if not all(0 < wall_s < 1e9 for wall_s in self.wall_s):
            raise ValueError("every sample must be a time above 0 s")
        need_within(self, 0, inf, "first_s", "warm_up_s", "device_s", "block")
        if not self.counted:
            raise ValueError(
                f"no sample follows one of the same arm {self.arm!r}, so none counts in separated order"
            )

    @cached_property
    def counted(self) -> tuple[tuple[int, float], ...]:
        """Block and seconds of each sample that counts."""
        return tuple(
            (block, wall_s)
            for block, wall_s, after in zip(self.block, self.wall_s, self.after, strict=True)
            if self.order == "interleaved" or after == self.arm
        )

    @cached_property
    def blocks(self) -> dict[int, tuple[float, ...]]:
        """Seconds of the samples that count, block by block."""
        found: dict[int, list[float]] = {}
        for block, wall_s in self.counted:
            found.setdefault(block, []).append(wall_s)
        return {block: tuple(samples) for block, samples in found.items()}

    @cached_property
    def block_medians(self) -> dict[int, float]:
        """Each block's median time."""
        return {block: median(samples) for block, samples in self.blocks.items()}

    @cached_property
    def typical_s(self) -> float:
        """The median of the samples that count."""
        return median(wall_s for _, wall_s in self.counted)


@final
@dataclass(frozen=True)
class Memory:
    """The largest need of one call above what was resident before it, from a pass of its own."""

    peak_bytes: int | None
    how: str
    reserved_bytes: int | None = None
    reason: str | None = None
    """Why ``peak_bytes`` is None."""

    def __post_init__(self) -> None:
        """Raise ValueError for less than nothing."""
        need_within(self, 0, inf, "peak_bytes", "reserved_bytes")


@final
@dataclass(frozen=True)
class Fidelity:
    """How far an output lies from the one it must agree with. ``largest`` decides, the rest informs."""

    of: str
    """What was compared, with its scale: e.g. "maps in [0, 1]"."""
    largest: float
    rms: float
    spread: float
    """Share of images whose expected output has a spread: below 0.9 the comparison does not count."""
    spearman: float | None = None
    top_5: float | None = None
    """Overlap of the 5 % highest pixels, mean over images, 0 to 1."""
    top_20: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what no comparison gives."""
        need_within(self, 0, inf, "largest", "rms")
        need_within(self, -1 - ROUNDED, 1 + ROUNDED, "spearman")
        need_shares(self, "spread", "top_5", "top_20")


@final
@dataclass(frozen=True)
class Part:
    """So many of a computation's steps, each as long as the next, timed because the whole takes too long."""

    step: str
    """One step in words, e.g. "ablation batch of 32"."""
    timed: int
    whole: int

    def __post_init__(self) -> None:
        """Raise ValueError unless some of the whole was timed."""
        if not 0 < self.timed <= self.whole:
            raise ValueError(f"timed must lie between 1 and whole, got {self.timed} of {self.whole}")


@final
@dataclass(frozen=True)
class Ceiling:
    """How many times cheaper than a forward per channel exactness can be, in multiply-adds that were counted."""

    channels: int
    forward_flops: int
    exact_flops: int
    """Of the one forward and everything that exactness left to do after it."""

    def __post_init__(self) -> None:
        """Raise ValueError for counts that no computation has."""
        if min(self.channels, self.forward_flops, self.exact_flops) < 1:
            raise ValueError("channels, forward_flops and exact_flops must be above 0")

    @property
    def times(self) -> float:
        """``channels`` forwards over what exactness leaves."""
        return self.channels * self.forward_flops / self.exact_flops


@final
@dataclass(frozen=True)
class Conditions:
    """What the machine did while one case was measured."""

    load_1m: float | None
    steal_s: float | None
    """CPU seconds that the hypervisor gave to others."""
    others_share: float | None
    """Share of all cores that other processes and the hypervisor's other guests used, 0 to 1."""
    involuntary_switches: int | None
    threads: int
    gpu: dict[str, str | float | None] | None = None
    """Clocks, temperature, power and throttle reasons before and after; None without CUDA."""
    gpu_by_block: dict[str, tuple[float | None, ...]] = field(
        default_factory=dict[str, tuple[float | None, ...]]
    )
    """Clock and temperature before each block; empty without CUDA."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no machine does."""
        need_within(self, 0, inf, "load_1m", "steal_s", "involuntary_switches")
        need_within(self, 1, inf, "threads")
        need_shares(self, "others_share")


@final
@dataclass(frozen=True)
class Gpu:
    """A CUDA device as NVML and torch describe it. Null fields have their reason in ``reasons``."""

    name: str
    uuid_sha256: str | None
    capability: str
    memory_bytes: int
    driver: str | None = None
    power_limit_w: float | None = None
    ecc: bool | None = None
    mig: bool | None = None
    clocks_max_mhz: dict[str, float] = field(default_factory=dict[str, float])
    reasons: dict[str, str] = field(default_factory=dict[str, str])


@final
@dataclass(frozen=True)
class Machine:
    """The machine of a run, without host name, user or paths."""

    system: str
    cpu: str
    cores: int
    memory_bytes: int | None
    threads: int
    versions: dict[str, str]
    """Version of each package that takes part: python, torch, triton, grad-cam, ..."""
    gpu: Gpu | None = None
    flags: dict[str, str] = field(default_factory=dict[str, str])
    """TF32, deterministic algorithms and the like, as they stood."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no machine has."""
        need_within(self, 0, inf, "memory_bytes")
        need_within(self, 1, inf, "cores", "threads")

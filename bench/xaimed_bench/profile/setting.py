"""How large everything on the card is: chosen by the kind of device and its memory, never by its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import torch

from xaimed_bench.measure.plan import Plan
from xaimed_bench.measure.subject import Subject, Subjects
from xaimed_bench.models import MODELS, LayerRole
from xaimed_core.memory import free_bytes
from xaimed_reports.profile.card import Rates


@final
@dataclass(frozen=True)
class Setting:
    """What is measured, and for how long. ``budget_s``: of one group of calls that are timed in turns."""

    device: torch.device
    batch: int
    batches: tuple[int, ...]
    """For memory against batch."""
    copy_bytes: int
    matrix_side: int
    kernel_images: int
    budget_s: float
    energy_s: float
    model: str = "resnet50"
    role: LayerRole = "last"
    size: int = 224
    every_layout: bool = False
    """Whether operations are measured in channels_last and bf16 as well."""
    counts: Path = Path("counts.json")
    """Where the accepted counts of kernels are."""
    rates: Rates | None = None
    """Of the GPU that times are predicted for; None: this one, measured."""

    @property
    def plan(self) -> Plan:
        """Six blocks at least, for an interval of 95 %."""
        return Plan(
            budget_s=self.budget_s,
            min_blocks=6,
            max_blocks=60,
            relative_error=0.01,
            warm_up_s=self.budget_s / 10,
        )

    @property
    def subject_name(self) -> str:
        return (
            f"{self.model}, {MODELS[self.model].layers[self.role]}, {self.size}x{self.size}, seeded weights"
        )

    @cached_property
    def _subjects(self) -> Subjects:
        return Subjects(self.device)

    def subject(self, batch: int | None = None) -> Subject:
        """The model with ``batch`` images in float32; one model for all parts."""
        return self._subjects.get(self.model, self.role, batch=batch or self.batch, size=self.size)


def choose_setting(device: torch.device, *, quick: bool = False) -> Setting:
    """The setting of a card that takes minutes (``quick``: about a quarter of them)."""
    device = torch.empty(0, device=device).device  # "cuda" gets its index, which parts of torch.cuda need
    # copies beyond any cache, as far as an eighth of the memory that is free allows
    copied = max(2**20, min(2**30, free_bytes(device) // 8))
    share = 0.25 if quick else 1.0
    if device.type == "cuda":
        return Setting(
            device=device,
            batch=64,
            batches=(1, 16, 64) if quick else (1, 4, 16, 64, 256),
            copy_bytes=copied,
            matrix_side=8192,
            kernel_images=64,
            budget_s=20.0 * share,
            energy_s=4.0,
            every_layout=not quick,
        )
    return Setting(
        device=device,
        batch=4,
        batches=(1, 2, 4) if quick else (1, 2, 4, 8),
        copy_bytes=copied,
        matrix_side=1536,
        kernel_images=16,
        budget_s=20.0 * share,
        energy_s=4.0,
    )

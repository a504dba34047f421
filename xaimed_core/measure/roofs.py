"""The roofs of a device, measured and never looked up: how fast it copies, multiplies, and starts work."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, final

import torch

from xaimed_core.methods import METHODS, ChannelProbe, InputProbe
from xaimed_reports.jsonform import to_json
from xaimed_reports.records import SCHEMA, Machine

from .clock import Clock
from .machine import machine_facts
from .subject import Subjects

COPY_BYTES = {"cuda": 2**30, "cpu": 2**28}
"""Beyond any cache, so that memory is measured."""
MATRIX = {"cuda": 8192, "cpu": 1536}
ROUNDS = 7


@final
@dataclass(frozen=True)
class Card:
    """The profile card of one device. Rates are medians of `ROUNDS` rounds after one that is not counted."""

    machine: dict[str, Any]
    slug: str
    copy_bytes_per_s: float
    """Bytes read plus bytes written, of a copy beyond every cache."""
    matrix_flops_per_s: dict[str, float]
    launch_s: float
    """One small operation, started and finished."""
    images_per_s: dict[str, float]
    """Of ResNet-50's last layer at 224x224, per method, with a plain forward pass beside."""
    batch: int
    schema: int = SCHEMA


def measure_card(device: torch.device) -> Card:
    """Measure the card of ``device``; about a minute on two CPU cores."""
    machine = machine_facts(device)
    clock = Clock(device)
    small = torch.ones(16, device=device)
    return Card(
        machine=to_json(machine),
        slug=_slug(machine),
        copy_bytes_per_s=_copy_rate(clock, device),
        matrix_flops_per_s={
            name: _matrix_rate(clock, device, dtype) for name, dtype in _dtypes(device).items()
        },
        launch_s=_seconds(clock, lambda: small + 1, rounds=200),
        images_per_s=_images_per_s(clock, device, _batch(device)),
        batch=_batch(device),
    )


def card_markdown(card: Card) -> str:
    """The card as a table."""
    rows = [("copy", f"{card.copy_bytes_per_s / 1e9:.1f} GB/s (read and written)")]
    rows += [
        (f"matrix product, {k}", f"{rate / 1e12:.3g} TFLOP/s") for k, rate in card.matrix_flops_per_s.items()
    ]
    rows.append(("one small operation", f"{card.launch_s * 1e6:.1f} µs"))
    rows += [
        (f"{name}, batch {card.batch}", f"{rate:.3g} images/s") for name, rate in card.images_per_s.items()
    ]
    head = (f"**{card.slug}**", "", "| what | measured |", "| :-- | --: |")
    return "\n".join([*head, *(f"| {what} | {measured} |" for what, measured in rows)])


def _seconds(clock: Clock, call: Callable[[], Any], rounds: int = ROUNDS) -> float:
    clock.time(call)
    samples = [clock.time(call) for _ in range(rounds)]
    return median(sample.wall_s if sample.device_s is None else sample.device_s for sample in samples)


def _copy_rate(clock: Clock, device: torch.device) -> float:
    source = torch.ones(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / _seconds(clock, lambda: target.copy_(source))


def _matrix_rate(clock: Clock, device: torch.device, dtype: torch.dtype) -> float:
    side = MATRIX[device.type]
    a = torch.ones(side, side, dtype=dtype, device=device)
    return 2 * side**3 / _seconds(clock, lambda: a @ a)


def _dtypes(device: torch.device) -> dict[str, torch.dtype]:
    found = {"fp32": torch.float32, "bf16": torch.bfloat16}
    return found | {"fp16": torch.float16} if device.type == "cuda" else found


def _batch(device: torch.device) -> int:
    return 64 if device.type == "cuda" else 4


def _images_per_s(clock: Clock, device: torch.device, batch: int) -> dict[str, float]:
    from xaimed_core import explain

    subject = Subjects(device).get("resnet50", "last", batch=batch)
    found = {"plain forward": batch / _seconds(clock, subject.forward)}
    for name, method in METHODS.items():
        if not isinstance(method.kind, ChannelProbe | InputProbe):
            call = partial(explain, subject.model, subject.images, name, subject.layer, subject.classes)
            found[name] = batch / _seconds(clock, call)
    return found


def _slug(machine: Machine) -> str:
    name = machine.gpu.name if machine.gpu is not None else f"{machine.cpu} {machine.cores} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")

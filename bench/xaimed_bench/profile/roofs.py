"""The roofs of a device, measured and never looked up: how fast it copies, multiplies, and starts work."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from xaimed_bench.measure.clock import Clock
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant
from xaimed_reports.profile.card import Roofs

ROUNDS = 9
QUEUED = 200
"""Small operations in a row, to tell what each of them adds."""


def measure_roofs(setting: Setting) -> Roofs:
    """Medians of `ROUNDS` rounds after one that is not counted."""
    device, clock = setting.device, Clock(setting.device)
    small = torch.ones(16, device=device)
    return Roofs(
        copy_bytes_per_s=measure_copy(setting),
        copy_bytes=setting.copy_bytes,
        matrix_flops_per_s=_matrix_rates(setting, clock),
        matrix_side=setting.matrix_side,
        launch_s=median_seconds(clock, lambda: [small.add_(1) for _ in range(QUEUED)]) / QUEUED,
        round_trip_s=median(clock.time(lambda: small.add_(1)).wall_s for _ in range(QUEUED)),
    )


def measure_copy(setting: Setting) -> float:
    """Bytes a second, read plus written."""
    return 2 * setting.copy_bytes / median_seconds(Clock(setting.device), copy_call(setting))


def copy_call(setting: Setting) -> Callable[[], Any]:
    source = torch.ones(setting.copy_bytes, dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def matrix_call(setting: Setting, dtype: torch.dtype = torch.float32) -> Callable[[], Any]:
    """A product of two square matrices of random numbers: 2 ``matrix_side`` cubed operations."""
    shape, seeded = (setting.matrix_side,) * 2, torch.Generator(setting.device).manual_seed(0)
    a = torch.randn(shape, generator=seeded, device=setting.device).to(dtype)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, a, out=out)


def _matrix_rates(setting: Setting, clock: Clock) -> dict[str, float]:
    wanted = [("fp32", torch.float32, False), ("bf16", torch.bfloat16, False)]
    if setting.device.type == "cuda":
        wanted += [("tf32", torch.float32, True), ("fp16", torch.float16, False)]
    rates: dict[str, float] = {}
    for name, dtype, tf32 in wanted:
        with Variant(name, tf32=tf32).active(setting.device):
            rates[name] = 2 * setting.matrix_side**3 / median_seconds(clock, matrix_call(setting, dtype))
    return rates


def median_seconds(clock: Clock, call: Callable[[], Any]) -> float:
    """Of a call, on the device where it has a clock."""
    clock.time(call)
    samples = [clock.time(call) for _ in range(ROUNDS)]
    return median(sample.wall_s if sample.device_s is None else sample.device_s for sample in samples)

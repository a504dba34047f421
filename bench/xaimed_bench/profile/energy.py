"""Energy of repeated calls, read from the device's own counter over a window of some seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, final

from xaimed_bench.measure import nvml
from xaimed_bench.measure.clock import Clock
from xaimed_bench.profile.methods import MEASURED, calls
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant
from xaimed_reports.profile.card import EnergyUse

POWERCAP = Path("/sys/class/powercap")
Meter = Callable[[], float]
"""A counter of energy, joules; only differences mean anything. Raises where it cannot be read."""


@final
class RaplMeter:
    """Intel's and AMD's counters of whole processor packages; they wrap around."""

    def __init__(self, root: Path = POWERCAP) -> None:
        self._zones = sorted(root.glob("intel-rapl:[0-9]*"))
        self._zones = [zone for zone in self._zones if zone.name.count(":") == 1]
        if not self._zones:
            raise OSError(f"{root} holds no intel-rapl zone: this system offers no energy counter")
        self._last = [0.0] * len(self._zones)
        self._wrapped = [0.0] * len(self._zones)

    def __call__(self) -> float:
        for i, zone in enumerate(self._zones):
            now = int((zone / "energy_uj").read_text()) / 1e6
            if now < self._last[i]:
                self._wrapped[i] += int((zone / "max_energy_range_uj").read_text()) / 1e6
            self._last[i] = now
        return sum(self._last) + sum(self._wrapped)


def measure_energy(setting: Setting, meter: Meter | None = None) -> tuple[EnergyUse, ...]:
    """Joules per image of a plain forward pass, XGradCAM and the five methods; null with the reason elsewhere."""
    try:
        device = setting.device
        meter = meter or (partial(nvml.energy_j, device) if device.type == "cuda" else RaplMeter())
        meter()
    except Exception as error:  # NVML's errors have no common base across releases
        return tuple(EnergyUse(name, setting.batch, reason=str(error)) for name in MEASURED)
    found = calls(setting.subject(), Variant("fp32"), setting)
    return tuple(_use(name, found[name], setting, meter) for name in MEASURED)


def _use(name: str, call: Callable[[], Any], setting: Setting, meter: Meter) -> EnergyUse:
    clock = Clock(setting.device)
    clock.first(call)
    before, began, count = meter(), time.perf_counter(), 0
    while (spent_s := time.perf_counter() - began) < setting.energy_s:
        clock.first(call)
        count += 1
    used = meter() - before
    return EnergyUse(
        name,
        setting.batch,
        joules_per_image=used / (count * setting.batch),
        watts=used / spent_s,
        window_s=spent_s,
    )

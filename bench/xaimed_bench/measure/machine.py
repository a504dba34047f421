"""The machine a run was made on, and what it did meanwhile. No host name, user or path is read."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import final

import torch

from xaimed_bench.device import usable_cores
from xaimed_bench.measure import nvml
from xaimed_core.memory import limit_bytes, machine_bytes
from xaimed_reports.store.records import Conditions, Gpu, Machine

PACKAGES = ("torch", "torchvision", "triton", "numpy", "numba", "scipy", "grad-cam", "torchcam", "captum")


def machine_facts(device: torch.device) -> Machine:
    """What a reader must know to judge a time. ``device``: the one measured on."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory_bytes=min(filter(None, (machine_bytes(), limit_bytes())), default=None),
        threads=torch.get_num_threads(),
        versions={"python": platform.python_version(), **_versions()},
        gpu=_gpu(device) if device.type == "cuda" else None,
        flags=_flags(device),
    )


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _flags(device: torch.device) -> dict[str, str]:
    flags = {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()).lower(),
    }
    if device.type == "cuda":
        flags["cudnn_tf32"] = str(torch.backends.cudnn.allow_tf32).lower()
        flags["cudnn_benchmark"] = str(torch.backends.cudnn.benchmark).lower()
        flags["matmul_tf32"] = str(torch.backends.cuda.matmul.allow_tf32).lower()
    return flags


def _gpu(device: torch.device) -> Gpu:
    properties = torch.cuda.get_device_properties(device)
    return nvml.describe(
        name=properties.name,
        uuid=str(getattr(properties, "uuid", "")),
        capability=f"{properties.major}.{properties.minor}",
        memory_bytes=properties.total_memory,
    )


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


@final
@dataclass(frozen=True)
class Snapshot:
    """Counters of the system and of this process at one moment."""

    at_s: float
    busy_s: float | None
    steal_s: float | None
    own_s: float
    switches: int

    @classmethod
    def now(cls) -> Snapshot:
        """Read the counters; those that the system does not offer are None."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        busy_s, steal_s = _cpu_seconds()
        return cls(time.perf_counter(), busy_s, steal_s, usage.ru_utime + usage.ru_stime, usage.ru_nivcsw)


def _cpu_seconds() -> tuple[float | None, float | None]:
    """Busy and stolen seconds of all cores since boot: user, nice, system, irq, softirq; steal."""
    try:
        ticks = [int(t) for t in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None, None
    if len(ticks) < 8:
        return None, None
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks
    hertz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / hertz, steal / hertz


def others_share(seconds: float) -> float | None:
    """The share of all cores that others use during the next ``seconds``, 0 to 1; None where nothing counts them."""
    before = Snapshot.now()
    time.sleep(seconds)
    return _others(before, Snapshot.now())


def _others(before: Snapshot, now: Snapshot) -> float | None:
    if now.busy_s is None or before.busy_s is None:
        return None
    others_s = (now.busy_s - before.busy_s) - (now.own_s - before.own_s)
    others_s += (now.steal_s or 0.0) - (before.steal_s or 0.0)
    share = others_s / max(now.at_s - before.at_s, 1e-9) / (os.cpu_count() or 1)
    return min(1.0, max(0.0, share))


@final
class Watch:
    """Follows the machine from its creation on: the system's counters, and a GPU's clocks and temperature."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = Snapshot.now()
        self._gpu = [nvml.state(device)] if device.type == "cuda" else []

    def note(self) -> None:
        """Read the GPU's state; nothing on a CPU."""
        if self._device.type == "cuda":
            self._gpu.append(nvml.state(self._device))

    def conditions(self) -> Conditions:
        now, before = Snapshot.now(), self._before
        self.note()
        return Conditions(
            load_1m=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            steal_s=None  # the hypervisor's counter may run backwards
            if now.steal_s is None or before.steal_s is None
            else max(0.0, now.steal_s - before.steal_s),
            others_share=_others(before, now),
            involuntary_switches=now.switches - before.switches,
            threads=torch.get_num_threads(),
            gpu=nvml.changes(self._gpu[0], self._gpu[-1]) if self._gpu else None,
            gpu_by_block={
                "sm_mhz": tuple(state.sm_mhz for state in self._gpu),
                "temperature_c": tuple(state.temperature_c for state in self._gpu),
            }
            if self._gpu
            else {},
        )

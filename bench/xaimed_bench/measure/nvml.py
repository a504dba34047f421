"""What NVML tells about a CUDA device; every field it refuses is None with the reason beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch

from xaimed_reports.store.records import Gpu

THROTTLES = {
    "power cap": "nvmlClocksThrottleReasonSwPowerCap",
    "hardware slowdown": "nvmlClocksThrottleReasonHwSlowdown",
    "software thermal": "nvmlClocksThrottleReasonSwThermalSlowdown",
    "hardware thermal": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "hardware power brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}


@final
@dataclass(frozen=True)
class State:
    """Clocks, temperature, power and throttle reasons at one moment; ``reasons`` says why a field is None."""

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttled_by: str | None = None
    reasons: dict[str, str] = field(default_factory=dict[str, str])


class _Reader:
    """Calls NVML functions; remembers why one failed."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def get(self, field_name: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:  # NVML's errors have no common public base across releases
            self.reasons[field_name] = str(error) or type(error).__name__
            return None


def describe(name: str, uuid: str, capability: str, memory_bytes: int) -> Gpu:
    """The device that torch calls by ``uuid``, with what NVML adds."""
    hashed = hashlib.sha256(uuid.encode()).hexdigest()[:16] if uuid else None
    reader = _Reader()
    opened = reader.get("nvml", lambda: _open(uuid))
    if opened is None:
        return Gpu(name, hashed, capability, memory_bytes, reasons=reader.reasons)
    nv, handle = opened
    driver = reader.get("driver", nv.nvmlSystemGetDriverVersion)
    power = reader.get("power_limit_w", lambda: nv.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3)
    ecc = reader.get("ecc", lambda: bool(nv.nvmlDeviceGetEccMode(handle)[0]))
    mig = reader.get("mig", lambda: bool(nv.nvmlDeviceGetMigMode(handle)[0]))
    kinds = {"sm": nv.NVML_CLOCK_SM, "memory": nv.NVML_CLOCK_MEM}
    clocks = {
        k: reader.get(f"clock {k}", lambda kind=kind: float(nv.nvmlDeviceGetMaxClockInfo(handle, kind)))
        for k, kind in kinds.items()
    }
    return Gpu(
        name=name,
        uuid_sha256=hashed,
        capability=capability,
        memory_bytes=memory_bytes,
        driver=driver.decode() if isinstance(driver, bytes) else driver,
        power_limit_w=power,
        ecc=ecc,
        mig=mig,
        clocks_max_mhz={k: v for k, v in clocks.items() if v is not None},
        reasons=reader.reasons,
    )


def state(device: torch.device) -> State:
    """Clocks, temperature, power and throttling of ``device`` now."""
    reader = _Reader()
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    opened = reader.get("nvml", lambda: _open(uuid))
    if opened is None:
        return State(reasons=reader.reasons)
    nv, handle = opened
    return State(
        sm_mhz=reader.get("sm_mhz", lambda: float(nv.nvmlDeviceGetClockInfo(handle, nv.NVML_CLOCK_SM))),
        memory_mhz=reader.get(
            "memory_mhz", lambda: float(nv.nvmlDeviceGetClockInfo(handle, nv.NVML_CLOCK_MEM))
        ),
        temperature_c=reader.get(
            "temperature_c", lambda: float(nv.nvmlDeviceGetTemperature(handle, nv.NVML_TEMPERATURE_GPU))
        ),
        power_w=reader.get("power_w", lambda: nv.nvmlDeviceGetPowerUsage(handle) / 1e3),
        throttled_by=reader.get("throttled_by", lambda: _throttles(nv, handle)),
        reasons=reader.reasons,
    )


def changes(before: State, after: State) -> dict[str, str | float | None]:
    """Both states as one flat table: ``sm_mhz before``, ``sm_mhz after``, ..."""
    table: dict[str, str | float | None] = {}
    for when, found in (("before", before), ("after", after)):
        for name in ("sm_mhz", "memory_mhz", "temperature_c", "power_w", "throttled_by"):
            table[f"{name} {when}"] = getattr(found, name)
        table |= {f"{name} {when} is missing because": why for name, why in found.reasons.items()}
    return table


def energy_j(device: torch.device) -> float:
    """Joules that ``device`` took since its driver was loaded. Raises where NVML does not tell."""
    nv, handle = _open(str(getattr(torch.cuda.get_device_properties(device), "uuid", "")))
    return nv.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def _throttles(nv: Any, handle: Any) -> str:
    bits = nv.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return ", ".join(word for word, constant in THROTTLES.items() if bits & getattr(nv, constant))


def _open(uuid: str) -> tuple[Any, Any]:
    """NVML and the handle of the device with this UUID (torch numbers devices otherwise than NVML)."""
    import pynvml  # optional: belongs to the bench extra

    pynvml.nvmlInit()
    if not uuid:
        raise RuntimeError("torch tells no UUID, so the device cannot be matched")
    name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    return pynvml, pynvml.nvmlDeviceGetHandleByUUID(name.encode())

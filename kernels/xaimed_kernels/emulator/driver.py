"""Stands in for Triton's driver: Triton specialises and compiles each launch as for a GPU, and the emulator runs it."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from xaimed_kernels.emulator.findings import Finding
from xaimed_kernels.emulator.machine import Kernel, Launch, Storage
from xaimed_kernels.emulator.program import parse
from xaimed_kernels.launching import standing_in


@final
@dataclass(frozen=True)
class Device:
    """The GPU to compile for: its compute capability times 10, and how many multiprocessors it seems to have."""

    capability: int = 90
    multiprocessors: int = 132


@final
@dataclass
class Emulation:
    """What ran so far. ``variants``: of compiled code, by the hashes that Triton gives them."""

    launches: list[Launch] = field(default_factory=list[Launch])
    variants: set[str] = field(default_factory=set[str])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all launches."""
        return tuple(finding for launch in self.launches for finding in launch.findings)


@contextmanager
def emulating(
    device: Device = Device(),
    *,
    checked: bool = True,
    counted: bool = False,
) -> Generator[Emulation]:
    """Inside, operations with ``backend="triton"`` take CPU tensors and run as compiled PTX.

    ``checked``, ``counted``: see `Kernel.run`. Not in a process under ``TRITON_INTERPRET=1``, and not in two threads
    at once: Triton has one driver for all. Raises: UnknownInstructionError at a launch whose PTX is not modelled.
    """
    from triton import knobs
    from triton.runtime import driver

    emulation = Emulation()
    settings: Any = driver
    runtime: Any = knobs.runtime
    cache: Any = knobs.cache
    before, hook = settings._active, runtime.add_stages_inspection_hook
    settings.set_active(_Driver(device, emulation, checked, counted))
    runtime.add_stages_inspection_hook = _stop_at_ptx
    try:
        with standing_in(device.multiprocessors), cache.scope():
            # Triton 3.6 would keep PTX and binary under one key: a GPU would get the one, the emulator the other
            cache.dir = str(Path(cache.dir) / "emulated")
            yield emulation
    finally:
        settings._active = before
        runtime.add_stages_inspection_hook = hook


def _stop_at_ptx(
    backend: Any = None, stages: Any = None, options: Any = None, language: Any = None, capability: Any = None
) -> tuple[str, str] | None:
    """Triton's hook into its pipeline: PTX takes the place of the binary. Without arguments: its cache's key."""
    if stages is None:
        return "ptx for the emulator", "emulator"
    stages["cubin"] = lambda ptx, metadata: ptx.encode()
    return None


@final
class _Driver:
    def __init__(self, device: Device, emulation: Emulation, checked: bool, counted: bool) -> None:
        self.device, self.emulation, self.checked, self.counted = device, emulation, checked, counted
        self.utils = self
        self.launcher_cls = _Launcher

    def get_current_device(self) -> str:
        """A name of its own, under which Triton keeps what was compiled."""
        return f"emulated sm_{self.device.capability}"

    def get_current_stream(self, device: object = None) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.device.capability, 32)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_device_properties(self, device: object) -> dict[str, int]:
        """What Triton reads of a device: an H100's (CUDA programming guide, technical specifications)."""
        return {
            "max_shared_mem": 227 * 1024,
            "multiprocessor_count": self.device.multiprocessors,
            "warpSize": 32,
            "max_num_regs": 65536,
        }

    def load_binary(
        self, name: str, binary: bytes, shared: int, device: object
    ) -> tuple[object, str, int, int, int]:
        """Module, function (here: its PTX), registers and spills of a thread, and threads that a block may have."""
        return object(), binary.decode(), 0, 0, 1024

    def unload_module(self, module: object) -> None:
        pass


@final
class _Launcher:
    """Runs one compiled kernel; Triton makes one for each variant, and keeps it."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self._signature: dict[str, Any] = dict(source.signature)
        self._metadata = metadata
        self._decoded: Kernel | None = None

    def __call__(
        self,
        blocks: int,
        y: int,
        z: int,
        stream: int,
        function: str,
        packed: object,
        launch_metadata: object,
        on_enter: object,
        on_exit: object,
        *arguments: Any,
    ) -> None:
        from triton.runtime import driver

        if (y, z) != (1, 1):
            raise ValueError(f"the emulator runs one-dimensional grids, not {(blocks, y, z)}")
        active: Any = driver.active
        if self._decoded is None:
            self._decoded = Kernel(parse(function))
        flat = list(_flat(zip(self._signature.items(), arguments, strict=True)))
        # Triton ends the list with two scratch areas, which our kernels have no use for
        packed_arguments = [*(_packed(kind, value) for _, kind, value in flat), bytes(8), bytes(8)]
        launch = self._decoded.run(
            blocks,
            packed_arguments,
            _storages(flat),
            self._metadata.shared,
            checked=active.checked,
            counted=active.counted,
        )
        active.emulation.launches.append(launch)
        active.emulation.variants.add(self._metadata.hash)


def _flat(arguments: Any) -> Iterator[tuple[str, str, Any]]:
    """Name, Triton's type and value of each argument that the kernel really takes, tuples laid open."""
    for (name, kind), value in arguments:
        if isinstance(kind, tuple | list):
            yield from _flat(((name, inner), item) for inner, item in zip(kind, value, strict=True))
        elif kind != "constexpr":
            yield name, kind, value


_FORMATS = {"i1": "<b", "i8": "<b", "u8": "<B", "i16": "<h", "i32": "<i", "u32": "<I", "i64": "<q", "u64": "<Q",
            "fp32": "<f", "fp64": "<d"}  # fmt: skip


def _packed(kind: str, value: Any) -> bytes:
    if kind.startswith("*"):
        return struct.pack("<Q", value.data_ptr())
    return struct.pack(_FORMATS[kind], value)


def _storages(flat: list[tuple[str, str, Any]]) -> list[Storage]:
    """Each storage once, under the name of the first argument that lies in it."""
    found: dict[int, Storage] = {}
    for name, _, value in flat:
        if isinstance(value, Tensor) and value.numel():
            storage = value.untyped_storage()
            if storage.data_ptr() % 16:
                raise ValueError(f"{name} lies at an address that is no multiple of 16; clone it")
            found.setdefault(storage.data_ptr(), Storage(name, storage.data_ptr(), storage.nbytes()))
    return list(found.values())

"""Launches captured from an operation, to be run again with one thing changed in the compiled kernel."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels.emulator.written import aligned
from xaimed_kernels.emulator import Device, Kernel, Storage, emulating
from xaimed_kernels.emulator.program import Program
from xaimed_kernels.emulator.schedule import Order

FEW = Device(multiprocessors=1)
"""Few programs, so that each goes round its loop several times."""


class CaughtError(Exception):
    """A fault was noted."""


@dataclass
class Captured:
    """A launch, and the memory that it found, to be run again."""

    program: Program
    blocks: int
    arguments: Sequence[bytes]
    storages: Sequence[Storage]
    contents: Sequence[np.ndarray]
    shared_bytes: int

    def run(self, program: Program, order: Order = "together") -> bytes:
        """Run ``program`` instead, on copies of the memory; what it holds then."""
        copies = [aligned(content) for content in self.contents]
        moved = dict(zip(self.storages, copies, strict=True))
        storages = [Storage(s.name, copy.ctypes.data, s.size) for s, copy in moved.items()]
        arguments = [relocated(argument, moved) for argument in self.arguments]
        Kernel(program).run(self.blocks, arguments, storages, self.shared_bytes, counted=False, order=order)
        return b"".join(copy.tobytes() for copy in copies)


def relocated(argument: bytes, moved: dict[Storage, np.ndarray]) -> bytes:
    """An argument that points into memory points to the same place of the copy."""
    value = int.from_bytes(argument, "little")
    for storage, copy in moved.items():
        if len(argument) == 8 and storage.address <= value < storage.address + storage.size:
            return (value - storage.address + copy.ctypes.data).to_bytes(8, "little")
    return argument


def contents(storage: Storage) -> np.ndarray:
    return np.frombuffer(ctypes.string_at(storage.address, storage.size), np.uint8)


def noticed(self, fault, instruction, example, times=1):
    """Instead of `Findings.note`: the first finding ends the run."""
    raise CaughtError(str(fault))


def captured(
    operation: Callable[[], None], wanted: Callable[[Program], bool], monkeypatch: pytest.MonkeyPatch
) -> list[Captured]:
    """The first launch of each compiled kernel that is wanted."""
    found: dict[tuple, Captured] = {}
    run = Kernel.run

    def capturing(kernel, blocks, arguments, storages, shared_bytes, **settings):
        if wanted(kernel.program):
            memory = [contents(storage) for storage in storages]
            launch = Captured(kernel.program, blocks, arguments, storages, memory, shared_bytes)
            found.setdefault(kernel.program.instructions, launch)
        return run(kernel, blocks, arguments, storages, shared_bytes, **settings)

    with monkeypatch.context() as patched, emulating(FEW):
        patched.setattr(Kernel, "run", capturing)
        operation()
    return list(found.values())

"""Launches captured from an operation, to be run again with one thing changed in the compiled kernel."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tests.kernels.emulator.written import aligned
from xaimed_kernels.emulator import Device, Kernel, Storage, emulating
from xaimed_kernels.emulator.program import Program
from xaimed_kernels.emulator.schedule import Order, Schedule

FEW = Device(multiprocessors=1)
"""Few programs, so that each goes round its loop several times."""


class CaughtError(Exception):
    """A fault was noted."""


@dataclass
class Captured:
    """A launch, and the memory that it found, to be run again. ``reached``: what it is the first to execute."""

    program: Program
    blocks: int
    arguments: Sequence[bytes]
    storages: Sequence[Storage]
    contents: Sequence[np.ndarray]
    shared_bytes: int
    reached: frozenset[int] = frozenset()

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
    """Of each compiled kernel that is wanted, the launches that execute an instruction which none before did."""
    found: list[Captured] = []
    reached: defaultdict[tuple, set[int]] = defaultdict(set)
    executed: list[int] = []
    run, go = Kernel.run, Schedule.run

    def executing(schedule):
        go(schedule)
        executed[:] = np.flatnonzero(schedule._executed).tolist()

    def capturing(kernel, blocks, arguments, storages, shared_bytes, **settings):
        memory = [contents(storage) for storage in storages]
        launched = run(kernel, blocks, arguments, storages, shared_bytes, **settings)
        before = reached[kernel.program.instructions]
        if wanted(kernel.program) and (new := frozenset(executed) - before):
            found.append(Captured(kernel.program, blocks, arguments, storages, memory, shared_bytes, new))
            before |= new
        return launched

    with monkeypatch.context() as patched, emulating(FEW):
        patched.setattr(Kernel, "run", capturing)
        patched.setattr(Schedule, "run", executing)
        operation()
    return found

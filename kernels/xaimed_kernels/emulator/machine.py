"""Runs a kernel: its blocks in batches, the threads of a batch in lockstep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from xaimed_kernels.emulator.counts import Counts
from xaimed_kernels.emulator.findings import Finding, Findings
from xaimed_kernels.emulator.instructions.decode import Decoded, decode
from xaimed_kernels.emulator.memory import GlobalMemory, Segment, SharedMemory, storage_bytes
from xaimed_kernels.emulator.program import Program
from xaimed_kernels.emulator.ptx_types import UNSIGNED, Array
from xaimed_kernels.emulator.schedule import Order, Schedule
from xaimed_kernels.emulator.threads import Threads

MOST_THREADS = 8192
"""Of a batch: enough to hide NumPy's cost per call, few enough for the processor's cache."""


@final
@dataclass(frozen=True)
class Storage:
    """Memory that a kernel is given: a tensor's whole storage, named after the argument."""

    name: str
    address: int
    size: int


@final
@dataclass(frozen=True)
class Launch:
    """What was seen of one launch. ``counts`` are None where nothing was counted."""

    kernel: str
    blocks: int
    warps: int
    findings: tuple[Finding, ...]
    counts: Counts | None


@final
class Kernel:
    """A program, decoded. Raises: UnknownInstructionError for what is not modelled."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._decoded: tuple[Decoded, ...] = tuple(decode(i, program) for i in program.instructions)

    def run(
        self,
        blocks: int,
        arguments: Sequence[bytes],
        storages: Sequence[Storage],
        shared_bytes: int,
        *,
        checked: bool = True,
        counted: bool = True,
        order: Order = "together",
    ) -> Launch:
        """Run so many blocks. ``arguments``: of each parameter, little-endian; ``shared_bytes``: of a block.

        ``checked``: look for races and uninitialised memory; bounds and alignment are always looked at.
        ``counted``: count instructions and accesses. ``order`` of warps: no result may depend on it.
        """
        program, findings = self.program, Findings(self.program.name)
        counts = Counts() if counted else None
        memory = self._global_memory(storages, checked=checked)
        values = {
            name: np.frombuffer(argument[: kind.size], UNSIGNED[kind.size])
            for (name, kind), argument in zip(program.parameters.items(), arguments, strict=True)
        }
        executed = np.zeros(len(self._decoded), np.int64)
        together, cell = max(1, MOST_THREADS // program.threads), program.smallest_access("shared")
        with np.errstate(all="ignore"):
            for first in range(0, blocks, together):
                batch = range(first, min(blocks, first + together))
                shared = SharedMemory(batch, shared_bytes, cell, program.threads, checked=checked)
                threads = Threads(program, batch, blocks, values, memory, shared, findings, counts)
                Schedule(self._decoded, threads, executed, order).run()
        if counts is not None:
            self._sum_up(counts, executed, memory)
        return Launch(program.name, blocks, program.threads // 32, tuple(findings), counts)

    def _global_memory(self, storages: Sequence[Storage], *, checked: bool) -> GlobalMemory:
        cell = self.program.smallest_access("global")
        return GlobalMemory(
            [
                (
                    s.address,
                    Segment(
                        s.name, storage_bytes(s.address, s.size), cell, self.program.threads, checked=checked
                    ),
                )
                for s in storages
            ]
        )

    def _sum_up(self, counts: Counts, executed: Array, memory: GlobalMemory) -> None:
        for instruction, times in zip(self.program.instructions, executed.tolist(), strict=True):
            if times:
                counts.by_opcode[instruction.opcode] += times
        counts.warp_instructions = int(executed.sum())
        counts.touched_sectors = sum(int(segment.touched.sum()) for segment in memory.segments)

"""The threads that run at once, as arrays: registers, barriers passed, copies under way, and the memory they see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from xaimed_kernels.emulator.counts import Counts
from xaimed_kernels.emulator.findings import Findings
from xaimed_kernels.emulator.memory import Access, GlobalMemory, SharedMemory, Space
from xaimed_kernels.emulator.program import Program
from xaimed_kernels.emulator.ptx_types import UNSIGNED, Array, Type
from xaimed_kernels.emulator.shadow import Accessors

_POISON = 0xCDCDCDCDCDCDCDCD
"""In registers that nothing was written to."""


@final
@dataclass
class Copy:
    """An asynchronous copy to shared memory: threads, the commit group of each, where to, and the data."""

    threads: Array
    group: Array
    addresses: Array
    values: tuple[Array, ...]
    access: Access

    def of(self, chosen: Array) -> Copy:
        """The part of some of its threads."""
        values = tuple(value[chosen] for value in self.values)
        return Copy(self.threads[chosen], self.group[chosen], self.addresses[chosen], values, self.access)


@final
class Threads:
    """Several whole blocks of a launch, thread by thread in one array; ``active`` None stands for all of them."""

    def __init__(
        self,
        program: Program,
        blocks: range,
        grid: int,
        arguments: Mapping[str, Array],
        memory: GlobalMemory,
        shared: SharedMemory,
        findings: Findings,
        counts: Counts | None,
    ) -> None:
        size = program.threads
        self.count, self.grid, self.blocks, self.per_block = len(blocks) * size, grid, blocks, size
        self.index = np.arange(blocks.start * size, blocks.stop * size, dtype=np.int32)
        self.block, self.warp = self.index // size, self.index // 32
        self.block_barriers = np.zeros(self.count, np.int32)
        self.warp_barriers = np.zeros(self.count, np.int32)
        self.arguments, self.findings, self.counts = arguments, findings, counts
        self.memory, self.shared = memory, shared
        self.committed = np.zeros(self.count, np.int32)
        self.copies: list[Copy] = []
        poison = {kind: _poison(kind, self.count) for kind in {r.kind for r in program.registers.values()}}
        self.registers: list[Array] = [poison[register.kind] for register in program.registers.values()]

    def set(self, register: int, bits: Array, active: Array | None) -> None:
        """Write a register of the active threads."""
        if len(bits) != self.count:
            bits = np.full(self.count, bits[0])
        self.registers[register] = (
            bits if active is None else np.where(active, bits, self.registers[register])
        )

    def full(self, values: Array) -> Array:
        """One value for each thread, also where there is one for all."""
        return values if len(values) == self.count else np.full(self.count, values[0])

    def active(self, active: Array | None) -> Array:
        """The places of the active threads."""
        return np.arange(self.count) if active is None else np.flatnonzero(active)

    def accessors(self, places: Array) -> Accessors:
        """These threads, as the shadow knows them."""
        return Accessors(
            self.index[places],
            self.warp[places],
            self.block[places],
            self.block_barriers[places],
            self.warp_barriers[places],
        )

    def pass_barrier(self, active: Array | None, *, of_block: bool) -> None:
        """The active threads' accesses before it are ordered before those after it, in their block or warp."""
        places = slice(None) if active is None else active
        self.warp_barriers[places] += 1
        if of_block:
            self.block_barriers[places] += 1

    def load(self, space: Space, addresses: Array, places: Array, access: Access) -> tuple[Array, ...]:
        """Elements for the threads at ``places``, one array ``[len(places)]`` an element; 0 where out of reach."""
        found = tuple(np.zeros(len(places), UNSIGNED[access.size]) for _ in range(access.elements))
        if len(places):
            by = self.accessors(places)
            self.count_access(space, addresses, by, access, store=False)
            for reach in space.reach(addresses, by, access, self.findings):
                for i, values in enumerate(found):
                    values[reach.who] = reach.segment.read(
                        reach.offsets + i * access.size, by.of(reach.who), access, self.findings
                    )
        return found

    def store(
        self, space: Space, addresses: Array, places: Array, values: tuple[Array, ...], access: Access
    ) -> None:
        """Store the elements ``values``, each ``[len(places)]``."""
        if len(places):
            by = self.accessors(places)
            if not access.atomic:
                self.count_access(space, addresses, by, access, store=True)
            for reach in space.reach(addresses, by, access, self.findings):
                for i, element in enumerate(values):
                    reach.segment.write(
                        reach.offsets + i * access.size,
                        element[reach.who],
                        by.of(reach.who),
                        access,
                        self.findings,
                    )

    def peek(self, space: Space, addresses: Array, places: Array, access: Access) -> Array:
        """The element that the threads would load, without a trace."""
        found = np.zeros(len(places), UNSIGNED[access.size])
        for reach in space.reach(addresses, self.accessors(places), access, self.findings):
            found[reach.who] = reach.segment.peek(reach.offsets, access.size)
        return found

    def begin_copy(self, copy: Copy) -> None:
        """From now on the copy may be written at any time."""
        by = self.accessors(copy.threads)
        self.count_access(self.shared, copy.addresses, by, copy.access, store=True)
        for reach in self.shared.reach(copy.addresses, by, copy.access, self.findings):
            for i in range(copy.access.elements):
                offsets = reach.offsets + i * copy.access.size
                every, none = np.ones(len(offsets), np.bool_), np.zeros(len(offsets), np.bool_)
                reach.segment.mark_written(
                    offsets, by.of(reach.who), copy.access, self.findings, changed=every, overwritten=none
                )
                reach.segment.mark_copying(offsets, copy.access.size, under_way=True)
        self.copies.append(copy)

    def finish_copies(self, active: Array | None, *, left: int) -> None:
        """Write what the active threads wait for: all but their last ``left`` groups."""
        waiting = np.ones(self.count, np.bool_) if active is None else active
        under_way: list[Copy] = []
        for copy in self.copies:
            due = waiting[copy.threads] & (copy.group < self.committed[copy.threads] - left)
            self._write_copy(copy.of(due))
            under_way += [copy.of(~due)] if not due.all() else []
        self.copies = under_way

    def _write_copy(self, copy: Copy) -> None:
        if not len(copy.threads):
            return
        by = self.accessors(copy.threads)
        for reach in self.shared.reach(copy.addresses, by, copy.access, self.findings):
            for i, values in enumerate(copy.values):
                offsets = reach.offsets + i * copy.access.size
                reach.segment.write(offsets, values[reach.who], by.of(reach.who), copy.access, self.findings)
                reach.segment.mark_copying(offsets, copy.access.size, under_way=False)

    def count_access(
        self, space: Space, addresses: Array, by: Accessors, access: Access, *, store: bool
    ) -> None:
        """Count what these threads ask of a memory at once."""
        if self.counts is None:
            return
        if space is self.shared:
            self.counts.shared_access(by.thread, addresses, access.bytes)
        else:
            self.counts.global_access(by.thread, addresses, access.bytes, store=store)


def _poison(kind: Type, count: int) -> Array:
    if kind.kind == "predicate":
        return np.ones(count, np.bool_)
    return np.full(count, _POISON & (1 << 8 * kind.size) - 1, UNSIGNED[kind.size])

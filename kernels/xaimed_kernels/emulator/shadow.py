"""A shadow of memory: who wrote and who read each cell last, so that unordered accesses to one are noticed.

Two accesses by different threads, one of them a write, are ordered by a barrier of their block or, within a warp, by
a barrier of the warp. Between blocks of a launch nothing orders them, except that two atomics never race.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from xaimed_kernels.emulator.findings import Fault
from xaimed_kernels.emulator.ptx_types import Array

NOBODY, MANY = -1, -2
"""In place of a thread, warp or block."""


@final
@dataclass(frozen=True)
class Accessors:
    """The threads of one access, an entry each: their numbers in the launch, and how many barriers they passed."""

    thread: Array
    warp: Array
    block: Array
    block_barriers: Array
    warp_barriers: Array

    def of(self, chosen: Array | slice) -> Accessors:
        """Some of them."""
        return Accessors(
            self.thread[chosen],
            self.warp[chosen],
            self.block[chosen],
            self.block_barriers[chosen],
            self.warp_barriers[chosen],
        )


@final
@dataclass(frozen=True)
class Conflict:
    """Accesses to one cell that nothing orders: ``who`` (places among the accessors), after ``other`` (or `MANY`)."""

    fault: Fault
    verb: str
    who: Array
    other: Array


@final
class Shadow:
    """Of ``cells`` cells: the last writer, and of the readers since the last barriers whether one or several."""

    def __init__(self, cells: int, threads_per_block: int) -> None:
        self._threads_per_block = threads_per_block
        self._writer = _Last(cells)
        self._atomic = np.zeros(cells, np.bool_)
        self._reader = _Last(cells)
        self._reading_warp = np.full(cells, NOBODY, np.int32)
        self._reading_block = np.full(cells, NOBODY, np.int32)

    def read(self, cells: Array, by: Accessors) -> Iterator[Conflict]:
        """Each accessor reads a cell."""
        yield from self._conflicts("read after write", self._writer, cells, by)
        self._remember_readers(cells, by)

    def write(
        self, cells: Array, by: Accessors, *, changed: Array, overwritten: Array, atomic: bool
    ) -> Iterator[Conflict]:
        """Each accessor writes a cell.

        ``changed``: where it held something else before; ``overwritten``: where it holds something else at the end,
        because another accessor won. What makes no difference is no race: Triton lets warps store one sum each.
        """
        excused = ~changed | (self._atomic[cells] & atomic)
        yield from self._conflicts("write after write", self._writer, cells, by, excused)
        yield from self._conflicts_with_readers(cells, by)
        self._writer.set(cells, by)
        self._atomic[cells] = atomic
        if not atomic:
            other = self._writer.thread[cells]
            # of the lanes of one instruction one wins, whichever: that much PTX promises
            clash = overwritten & (other // 32 != by.warp)
            yield from self._by_distance("two writes at once", clash, other, by)

    def _conflicts(
        self, verb: str, last: _Last, cells: Array, by: Accessors, excused: Array | None = None
    ) -> Iterator[Conflict]:
        other = last.thread[cells]
        if (other == NOBODY).all():
            return
        same_block = other // self._threads_per_block == by.block
        same_warp = other // 32 == by.warp
        unordered = np.where(
            same_warp,
            last.warp_barriers[cells] == by.warp_barriers,
            ~same_block | (last.block_barriers[cells] == by.block_barriers),
        )
        racing = (other != NOBODY) & (other != by.thread) & unordered
        yield from self._by_distance(verb, racing if excused is None else racing & ~excused, other, by)

    def _conflicts_with_readers(self, cells: Array, by: Accessors) -> Iterator[Conflict]:
        block = self._reading_block[cells]
        if (block == NOBODY).all():
            return
        warp, thread = self._reading_warp[cells], self._reader.thread[cells]
        fresh = (block == by.block) & (self._reader.block_barriers[cells] == by.block_barriers)
        in_warp = fresh & (warp == by.warp) & (self._reader.warp_barriers[cells] == by.warp_barriers)
        yield from _named(
            "write after read",
            thread,
            {
                Fault.RACE_IN_WARP: in_warp & (thread != by.thread),
                Fault.RACE_BETWEEN_WARPS: fresh & (warp != by.warp),
                Fault.RACE_BETWEEN_BLOCKS: (block != NOBODY) & (block != by.block),
            },
        )

    def _remember_readers(self, cells: Array, by: Accessors) -> None:
        block, warp, thread = (
            self._reading_block[cells], self._reading_warp[cells], self._reader.thread[cells],
        )  # fmt: skip
        since = (block == by.block) & (self._reader.block_barriers[cells] == by.block_barriers)
        same_warp = since & (warp == by.warp) & (self._reader.warp_barriers[cells] == by.warp_barriers)
        self._reader.set(cells, by)
        other = self._reader.thread[cells]  # of several threads at once, the one that stayed
        several_warps = (since & (warp != by.warp)) | (other // 32 != by.warp)
        several = (same_warp & (thread != by.thread)) | (other != by.thread)
        several_blocks = ((block != NOBODY) & (block != by.block)) | (
            other // self._threads_per_block != by.block
        )
        self._reading_block[cells] = by.block
        self._reading_warp[cells] = by.warp
        self._reader.thread[cells[several]] = MANY
        self._reading_warp[cells[several_warps]] = MANY
        self._reading_block[cells[several_blocks]] = MANY

    def _by_distance(self, verb: str, racing: Array, other: Array, by: Accessors) -> Iterator[Conflict]:
        """Racing accesses, by how far apart the two threads are."""
        same_block = other // self._threads_per_block == by.block
        same_warp = other // 32 == by.warp
        return _named(
            verb,
            other,
            {
                Fault.RACE_IN_WARP: racing & same_warp,
                Fault.RACE_BETWEEN_WARPS: racing & same_block & ~same_warp,
                Fault.RACE_BETWEEN_BLOCKS: racing & ~same_block,
            },
        )


def _named(verb: str, other: Array, races: Mapping[Fault, Array]) -> Iterator[Conflict]:
    for fault, racing in races.items():
        (who,) = np.nonzero(racing)
        if len(who):
            yield Conflict(fault, verb, who, other[who])


@final
class _Last:
    """The last thread at each cell, and the barriers that it had passed."""

    def __init__(self, cells: int) -> None:
        self.thread = np.full(cells, NOBODY, np.int32)
        self.block_barriers = np.zeros(cells, np.int32)
        self.warp_barriers = np.zeros(cells, np.int32)

    def set(self, cells: Array, by: Accessors) -> None:
        self.thread[cells] = by.thread
        self.block_barriers[cells] = by.block_barriers
        self.warp_barriers[cells] = by.warp_barriers

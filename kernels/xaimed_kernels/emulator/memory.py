"""Global and shared memory: tensors' own storage and a block's scratch, with bounds, alignment and a shadow."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from xaimed_kernels.emulator.counts import SECTOR
from xaimed_kernels.emulator.findings import Fault, Findings
from xaimed_kernels.emulator.program import Instruction
from xaimed_kernels.emulator.ptx_types import UNSIGNED, Array
from xaimed_kernels.emulator.shadow import MANY, Accessors, Conflict, Shadow

SHARED_BASE = 1 << 24
"""The address at which every block's shared memory begins."""
_POISON = 0xCD


@final
@dataclass(frozen=True)
class Access:
    """What one instruction asks for: ``elements`` of ``size`` bytes each, side by side."""

    instruction: Instruction
    size: int
    elements: int = 1
    atomic: bool = False

    @property
    def bytes(self) -> int:
        """Of all its elements."""
        return self.size * self.elements


@final
class Segment:
    """Bytes that belong together. ``cell``: bytes that races are looked for in; ``checked``: whether at all.

    ``defined`` (of shared memory): which cells were written; ``copying``: which a copy is on its way to.
    """

    def __init__(self, name: str, data: Array, cell: int, threads_per_block: int, *, checked: bool) -> None:
        cells = -(-len(data) // cell)
        self.name, self.data, self._cell, self._per_block = name, data, cell, threads_per_block
        self._shadow = Shadow(cells, threads_per_block) if checked else None
        self.touched = np.zeros(len(data) // SECTOR + 2, np.bool_)
        self.defined: Array | None = None
        self.copying: Array | None = None
        self._views: dict[int, Array] = {}
        self._last_wins = False

    def follow_definedness(self) -> None:
        """From now on, note reads of what nobody wrote, or of what is still being copied."""
        cells = -(-len(self.data) // self._cell)
        self.defined, self.copying = np.zeros(cells, np.bool_), np.zeros(cells, np.bool_)

    def read(self, offsets: Array, by: Accessors, access: Access, findings: Findings) -> Array:
        """The element at each accessor's offset."""
        self.touched[offsets // SECTOR] = True
        for cells in self._cells(offsets, access.size):
            if self.defined is not None and self.copying is not None:
                self._note_where(self.copying[cells], Fault.UNFINISHED_COPY, offsets, by, access, findings)
                undefined = ~(self.defined[cells] | self.copying[cells])
                self._note_where(undefined, Fault.UNINITIALISED, offsets, by, access, findings)
            if self._shadow is not None:
                for conflict in self._shadow.read(cells, by):
                    self._note(conflict, offsets, by, access, findings)
        return self._view(access.size)[offsets // access.size]

    def write(self, offsets: Array, values: Array, by: Accessors, access: Access, findings: Findings) -> None:
        """Put each accessor's element at its offset; of several at one, the last and the first in turn."""
        self.touched[offsets // SECTOR] = True
        if not self._last_wins:
            backwards = slice(None, None, -1)
            offsets, values, by = offsets[backwards], values[backwards], by.of(backwards)
        self._last_wins = not self._last_wins
        view, at = self._view(access.size), offsets // access.size
        changed = view[at] != values
        view[at] = values
        self.mark_written(offsets, by, access, findings, changed=changed, overwritten=view[at] != values)

    def peek(self, offsets: Array, size: int) -> Array:
        """As `read`, unnoticed."""
        return self._view(size)[offsets // size]

    def mark_written(
        self,
        offsets: Array,
        by: Accessors,
        access: Access,
        findings: Findings,
        *,
        changed: Array,
        overwritten: Array,
    ) -> None:
        """Note in the shadow that these elements are written now; see `Shadow.write`."""
        for cells in self._cells(offsets, access.size):
            if self.defined is not None:
                self.defined[cells] = True
            if self._shadow is not None:
                conflicts = self._shadow.write(
                    cells, by, changed=changed, overwritten=overwritten, atomic=access.atomic
                )
                for conflict in conflicts:
                    self._note(conflict, offsets, by, access, findings)

    def mark_copying(self, offsets: Array, size: int, *, under_way: bool) -> None:
        """Whether copies to these elements are on their way."""
        if self.copying is not None:
            for cells in self._cells(offsets, size):
                self.copying[cells] = under_way

    def _cells(self, offsets: Array, size: int) -> Iterator[Array]:
        return (offsets // self._cell + i for i in range(max(1, size // self._cell)))

    def _view(self, size: int) -> Array:
        if size not in self._views:
            self._views[size] = self.data[: len(self.data) // size * size].view(UNSIGNED[size])
        return self._views[size]

    def _note_where(
        self, wrong: Array, fault: Fault, offsets: Array, by: Accessors, access: Access, findings: Findings
    ) -> None:
        (who,) = np.nonzero(wrong)
        if len(who):
            example = f"{self._thread(by.thread[who[0]])}, byte {offsets[who[0]]} of {self.name}"
            findings.note(fault, access.instruction, example, len(who))

    def _note(
        self, conflict: Conflict, offsets: Array, by: Accessors, access: Access, findings: Findings
    ) -> None:
        first = conflict.who[0]
        example = (
            f"{conflict.verb}: {self._thread(by.thread[first])}, after {self._thread(conflict.other[0])}, "
            f"byte {offsets[first]} of {self.name}"
        )
        findings.note(conflict.fault, access.instruction, example, len(conflict.who))

    def _thread(self, number: Any) -> str:
        if number == MANY:
            return "several threads"
        return f"thread {number % self._per_block} of block {number // self._per_block}"


@final
@dataclass(frozen=True)
class Reach:
    """The accessors (places in the access's threads) that reach a segment, and at which of its bytes."""

    segment: Segment
    who: Array
    offsets: Array


@final
class GlobalMemory:
    """The storages that a launch's tensors lie in."""

    def __init__(self, segments: Sequence[tuple[int, Segment]]) -> None:
        ordered = sorted(segments, key=lambda placed: placed[0])
        self._bases = np.array([base for base, _ in ordered], np.uint64)
        self.segments = tuple(segment for _, segment in ordered)

    def reach(self, addresses: Array, by: Accessors, access: Access, findings: Findings) -> Iterator[Reach]:
        """Where each accessor reaches; those outside of memory or misaligned are noted and left out."""
        which = np.searchsorted(self._bases, addresses, side="right") - 1
        everyone = np.arange(len(addresses))
        for index in (which[:1] if (which == which[0]).all() else np.unique(which)).tolist():
            who = everyone[which == index]
            if index < 0:
                findings.note(
                    Fault.OUTSIDE, access.instruction, "an address before all that was given", len(who)
                )
                continue
            segment = self.segments[index]
            offsets = (addresses[who] - self._bases[index]).astype(np.int64)
            fine = _usable(offsets, len(segment.data), segment.name, access, findings)
            yield Reach(segment, who[fine], offsets[fine])


@final
class SharedMemory:
    """``size`` bytes for each of the blocks that run at once."""

    def __init__(self, blocks: range, size: int, cell: int, threads_per_block: int, *, checked: bool) -> None:
        self._size, self._first = -(-max(size, 16) // 16) * 16, blocks.start
        data = np.full(len(blocks) * self._size, _POISON, np.uint8)
        self.segment = Segment("shared memory", data, cell, threads_per_block, checked=checked)
        if checked:
            self.segment.follow_definedness()

    def reach(self, addresses: Array, by: Accessors, access: Access, findings: Findings) -> Iterator[Reach]:
        """As `GlobalMemory.reach`."""
        offsets = addresses.astype(np.int64) - SHARED_BASE
        fine = _usable(offsets, self._size, self.segment.name, access, findings)
        start = (by.block.astype(np.int64) - self._first) * self._size
        yield Reach(self.segment, np.flatnonzero(fine), (offsets + start)[fine])


Space = GlobalMemory | SharedMemory


def _usable(offsets: Array, size: int, name: str, access: Access, findings: Findings) -> Array:
    """Which accesses are inside and aligned to all that they ask for."""
    outside = (offsets < 0) | (offsets + access.bytes > size)
    misaligned = ~outside & (offsets % access.bytes != 0)
    for fault, wrong in ((Fault.OUTSIDE, outside), (Fault.MISALIGNED, misaligned)):
        (who,) = np.nonzero(wrong)
        if len(who):
            example = f"byte {offsets[who[0]]} of {name}, which has {size}"
            findings.note(fault, access.instruction, example, len(who))
    return ~(outside | misaligned)


def storage_bytes(address: int, size: int) -> Array:
    """The ``size`` bytes at ``address`` of this process's own memory."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

"""What a launch did, counted: instructions, and how memory was reached."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import final

import numpy as np

from xaimed_kernels.emulator.ptx_types import Array

SECTOR, BANKS = 32, 32
"""Bytes in which global memory is read and written, and banks, 4 bytes wide, of shared memory."""


@final
@dataclass
class Counts:
    """Of one launch, or a sum of launches.

    ``warp_instructions``: PTX instructions that warps executed, those switched off by their predicate included.
    ``loads``, ``stores``: accesses of warps to global memory, and the sectors and bytes that each asked for, a sector
    once an access. ``touched_sectors``: different ones, counted once in the launch. ``shared_accesses`` of warps and
    the ``shared_cycles`` that they take: one more for each conflict of banks.
    """

    warp_instructions: int = 0
    loads: int = 0
    loaded_sectors: int = 0
    loaded_bytes: int = 0
    stores: int = 0
    stored_sectors: int = 0
    stored_bytes: int = 0
    touched_sectors: int = 0
    shared_accesses: int = 0
    shared_cycles: int = 0
    by_opcode: Counter[str] = field(default_factory=Counter[str])

    def add(self, other: Counts) -> None:
        """Take another launch's counts in."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def global_access(self, threads: Array, addresses: Array, size: int, *, store: bool) -> None:
        """One instruction: each of ``threads`` reaches ``size`` aligned bytes at its address."""
        accesses = _different(threads // 32)
        sectors = _different(
            (threads.astype(np.uint64) // 32 << np.uint64(44)) | addresses // np.uint64(SECTOR)
        )
        if store:
            self.stores += accesses
            self.stored_sectors += sectors
            self.stored_bytes += len(threads) * size
        else:
            self.loads += accesses
            self.loaded_sectors += sectors
            self.loaded_bytes += len(threads) * size

    def shared_access(self, threads: Array, addresses: Array, size: int) -> None:
        """As `global_access`; a bank gives one word a cycle, and a wide access is served 128 bytes at a time."""
        lanes = max(1, 32 * 4 // max(size, 4))
        turns = threads // lanes
        words = max(1, size // 4)
        first = (addresses // 4).astype(np.int64)
        asked = np.unique(
            np.concatenate([(turns.astype(np.int64) << 32) | (first + word) for word in range(words)])
        )
        bank = (asked >> 32) * BANKS + asked % BANKS
        busiest = np.bincount(bank - bank.min() // BANKS * BANKS)
        busiest = np.pad(busiest, (0, -len(busiest) % BANKS)).reshape(-1, BANKS).max(1)
        self.shared_accesses += _different(threads // 32)
        self.shared_cycles += int(busiest.sum())


def _different(values: Array) -> int:
    """How many different values; quick where they ascend already."""
    if len(values) < 2:
        return len(values)
    if (values[1:] >= values[:-1]).all():
        return int((values[1:] != values[:-1]).sum()) + 1
    return len(np.unique(values))

"""How many programs of a compiled kernel a GPU holds at once, and how a sum is split to fill it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, final

import torch

from xaimed_kernels.launching import ceil_div, is_standing_in, multiprocessors, on_device

MOST_PROGRAMS = 16
"""That every architecture holds on a multiprocessor, whatever else they take (CUDA programming guide: 16 to 32)."""

RESERVED_BYTES = 1024
"""Of shared memory, which CUDA keeps for itself in each program from sm_80 on."""


@final
@dataclass(frozen=True)
class Multiprocessor:
    """What programs share: registers, bytes of shared memory, threads. As given: an H100's."""

    registers: int = 65536
    shared_bytes: int = 228 * 1024
    threads: int = 2048
    warp: int = 32


def resident_programs(on: Multiprocessor, *, registers: int, shared_bytes: int, warps: int) -> int:
    """Programs that one multiprocessor holds at once, at least 1.

    ``registers`` of a thread, which are given out by eights, or 0 where nobody knows: then the most that a thread of
    such a program may have. ``shared_bytes`` of a program.
    """
    threads = warps * on.warp
    known = ceil_div(registers, 8) * 8 or min(256, on.registers // threads)
    fitting = (
        on.registers // (known * threads),
        on.shared_bytes // (shared_bytes + RESERVED_BYTES),
        on.threads // threads,
        MOST_PROGRAMS,
    )
    return max(1, min(fitting))


def slots_for(
    kernel: Any, *arguments: Any, device: torch.device, warps: int, stages: int = 1, **constants: Any
) -> int:
    """Programs of ``kernel`` that ``device`` holds at once, with the arguments of a launch.

    The kernel is compiled (the launch that follows finds it), and its registers and shared memory are read. Where
    launches are only recorded or interpreted nothing is compiled: a thread counts as having all registers it may.
    """
    registers = shared_bytes = 0
    if device.type == "cuda" or is_standing_in():
        with on_device(device):
            compiled = kernel.warmup(*arguments, grid=(1,), num_warps=warps, num_stages=stages, **constants)
            compiled._init_handles()
        registers, shared_bytes = int(compiled.n_regs), int(compiled.metadata.shared)
    fitting = resident_programs(
        _multiprocessor(device), registers=registers, shared_bytes=shared_bytes, warps=warps
    )
    return multiprocessors(device) * fitting


@cache
def splits_to_fill(outputs: int, tiles: int, slots: int) -> int:
    """Parts into which a sum over ``tiles`` is split, one program each for every one of ``outputs``.

    The GPU works in waves of ``slots`` programs. A program takes as long as its tiles and about one more, to begin and
    to write its sums. The split with the least waves times that, and of equal ones the smallest: no part is empty.
    """

    def time(splits: int) -> int:
        return ceil_div(outputs * splits, slots) * (ceil_div(tiles, splits) + 1)

    return min(range(1, tiles + 1), key=time)


def _multiprocessor(device: torch.device) -> Multiprocessor:
    if device.type != "cuda":
        return Multiprocessor()
    found = torch.cuda.get_device_properties(device)
    return Multiprocessor(
        found.regs_per_multiprocessor,
        found.shared_memory_per_multiprocessor,
        found.max_threads_per_multi_processor,
        found.warp_size,
    )

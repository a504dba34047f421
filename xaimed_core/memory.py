"""How much memory there is, how much of it is free, and whether it ran out: one answer for the whole package."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from xaimed_core.numbers_given import is_whole

SHARE: Final = 0.5
"""Of what is free: the rest is left to the caller, to allocator slack and to the operations' own workspaces."""

LITTLE: Final = 2**27
"""What a call may take without asking what is free: less than the forward pass before it gave back."""

UNKNOWN_BYTES: Final = 2**31
"""Taken to be free where the system says nothing at all: what any machine that runs torch can give."""

NO_LIMIT: Final = 2**60
"""Version 1 control groups say "no limit" by a number near 2^63."""

RAN_OUT: Final = re.compile(
    r"allocate memory|not enough memory"  # torch's CPU allocator: on Linux and macOS, on Windows
    r"|out of memory"  # CUDA, HIP, MPS, XPU, Triton
    r"|bad[_ ]alloc|_ALLOC_FAILED"  # C++; cuBLAS, cuDNN, cuSOLVER
    r"|could not (create|execute) a primitive(?! descriptor)|could not create a memory object",  # oneDNN
    re.IGNORECASE,
)
"""What a RuntimeError says when memory ran out. A primitive *descriptor* that oneDNN refuses is not supported."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that it was raised from, says that memory ran out, on a device or on the host."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and RAN_OUT.search(str(error)):
            return True
        error = error.__cause__
    return False


def memory_bound(device: torch.device, asked_bytes: int | None, *, enough_bytes: int | None = None) -> int:
    """Bytes that the chunks of one call may occupy: what was asked for, else half of what is free now.

    ``enough_bytes``: what the call makes use of at most, where that is known. Finding out what is free takes as long
    as a closed form, so that nobody asks for `LITTLE`. Raises ValueError where less than a byte was asked for.
    """
    if asked_bytes is not None:
        check_asked(asked_bytes)
        return asked_bytes
    if enough_bytes is not None and enough_bytes <= LITTLE:
        return enough_bytes
    return int(SHARE * free_bytes(device))


def check_asked(asked_bytes: object) -> None:
    """Raise ValueError unless this is None or a number of bytes."""
    if asked_bytes is None:
        return
    if not is_whole(asked_bytes) or asked_bytes <= 0:
        raise ValueError(
            f"memory_bytes must be a whole, positive number of bytes, got {asked_bytes!r}; "
            "None asks the device"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that new tensors on ``device`` could take now.

    On a CUDA device what it has left and its allocator's idle blocks, within this process' share of the device. Else
    what the machine has left, within every limit on this process.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        reserved = torch.cuda.memory_reserved(device)
        share = int(torch.cuda.get_per_process_memory_fraction(device) * total)
        return max(0, min(free, share - reserved) + reserved - torch.cuda.memory_allocated(device))
    left = [limit - used for limit, used in (*own_limits(), *group_limits())]
    return max(0, min([machine_free_bytes(), *left]))


def limit_bytes() -> int | None:
    """The smallest limit on this process' memory, its own or its container's; None where there is none."""
    return min((limit for limit, _ in (*own_limits(), *group_limits())), default=None)


def machine_bytes() -> int | None:
    """Physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # AttributeError: Windows has no sysconf
        return None


def machine_free_bytes(proc: Path = Path("/proc")) -> int:
    """What can be taken without swapping, as the kernel estimates it; half of physical memory where it does not.

    Where the system promises no more than it has (Linux, ``vm.overcommit_memory=2``), no more than is not promised.
    """
    facts = proc / "meminfo"
    free = proc_bytes(facts, "MemAvailable") or proc_bytes(facts, "MemFree")
    if free is None:
        return (machine_bytes() or 2 * UNKNOWN_BYTES) // 2
    if _read(proc / "sys/vm/overcommit_memory").strip() == "2":
        promised, most = proc_bytes(facts, "Committed_AS"), proc_bytes(facts, "CommitLimit")
        if promised is not None and most is not None:
            return max(0, min(free, most - promised))
    return free


def own_limits() -> Iterator[tuple[int, int]]:
    """Bytes allowed and used, for each limit of the process itself: address space and data (``ulimit -v, -d``)."""
    if sys.platform == "win32":
        return
    import resource

    for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            yield most, proc_bytes(Path("/proc/self/status"), name) or 0


def group_limits(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[tuple[int, int]]:
    """Bytes allowed and used, for each limited control group of this process, outer ones included (versions 1 and 2).

    ``membership``: the file with this process' groups; ``root``: where groups are mounted. A container often sees its
    own group at the root of the mount, whatever its name is.
    """
    entries = (line.split(":", 2) for line in _read(membership).splitlines())
    for _, controllers, path in (entry for entry in entries if len(entry) == 3):
        if controllers == "":
            top, limits, used, cached = root, ("memory.max", "memory.high"), "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limits = root / "memory", ("memory.limit_in_bytes",)
            used, cached = "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        inner = top / path.strip("/")
        for group in (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top)):
            allowed = [int(text) for name in limits if (text := _read(group / name).strip()).isdigit()]
            if allowed and min(allowed) < NO_LIMIT:
                yield min(allowed), _group_used_bytes(group, used, cached)


def _group_used_bytes(group: Path, used: str, cached: str) -> int:
    """File pages that the kernel can drop do not count; 0 where the group does not say."""
    text = _read(group / used).strip()
    droppable = re.search(rf"^{cached} (\d+)$", _read(group / "memory.stat"), re.MULTILINE)
    return max(0, int(text) - int(droppable[1] if droppable else 0)) if text.isdigit() else 0


def proc_bytes(file: Path, name: str) -> int | None:
    """A line ``name: ... kB`` of a file like ``/proc/meminfo`` in bytes; None where it is not there."""
    found = re.search(rf"^{name}:\s+(\d+) kB", _read(file), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""

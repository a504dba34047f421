"""How much memory may be taken: what the device, the machine and the container leave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

SHARE = 0.5
"""Of what is free: the rest is left to the caller, to allocator slack and to the operations' own workspaces."""

LITTLE = 2**27
"""What a call may take without asking what is free: less than the forward pass before it gave back."""


def memory_bound(device: torch.device, asked_bytes: int | None, *, enough_bytes: int | None = None) -> int:
    """Bytes that the chunks of one call may occupy: what was asked for, else half of what is free now.

    ``enough_bytes``: what the call makes use of at most, where that is known. Finding out what is free takes as long
    as a closed form, so that nobody asks for `LITTLE`.
    """
    if asked_bytes is not None:
        if asked_bytes <= 0:
            raise ValueError(
                f"memory_bytes must be a positive number of bytes, got {asked_bytes}; None asks the device"
            )
        return asked_bytes
    if enough_bytes is not None and enough_bytes <= LITTLE:
        return enough_bytes
    return int(SHARE * free_bytes(device))


def free_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device, its allocator's idle blocks included, or of this machine within its container."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min((machine_free_bytes(), *container_free_bytes()), default=2**33)


def machine_free_bytes() -> int:
    """The kernel's own estimate of what can be taken without swapping; 8 GiB where it gives none."""
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 2**33


def container_free_bytes(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """Limit minus use of every control group this process is in, outer ones included (versions 1 and 2)."""
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names, top = ("memory.max", "memory.current", "inactive_file"), root
        elif "memory" in controllers.split(","):
            names, top = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
                root / "memory",
            )
        else:
            continue
        inner = top / path.strip("/")
        for group in (inner, *inner.parents):
            free = _group_free_bytes(group, *names)
            if free is not None:
                yield free
            if group == top:
                break


def _group_free_bytes(group: Path, limit: str, used: str, reclaimable: str) -> int | None:
    """None where the group has no limit. File pages that the kernel can drop do not count as used."""
    limits, uses = _lines(group / limit), _lines(group / used)
    if not limits or not uses or not limits[0].isdigit():
        return None
    cached = [line.split()[1] for line in _lines(group / "memory.stat") if line.split()[0] == reclaimable]
    return max(int(limits[0]) - int(uses[0]) + sum(map(int, cached)), 0)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().split("\n")[:-1] or []
    except OSError:
        return []

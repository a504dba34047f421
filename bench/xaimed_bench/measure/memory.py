"""What one call needs above what was resident before it, in a pass of its own."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from xaimed_core.memory import proc_bytes
from xaimed_reports.store.records import Memory

CUDA_HOW = "torch.cuda peak minus resident (allocated; reserved beside it), caching allocator emptied before"
LINUX_HOW = (
    "peak minus resident set of the process (VmHWM - VmRSS, heap trimmed before, allocator slack included)"
)
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


def peak_above_resident(call: Callable[[], Any], device: torch.device) -> Memory:
    """Run ``call`` once and report its peak. Bytes; None with a reason where the system cannot tell."""
    gc.collect()
    return _on_cuda(call, device) if device.type == "cuda" else _on_host(call)


def _on_cuda(call: Callable[[], Any], device: torch.device) -> Memory:
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    result = call()
    torch.cuda.synchronize(device)
    del result
    return Memory(
        peak_bytes=torch.cuda.max_memory_allocated(device) - allocated,
        reserved_bytes=torch.cuda.max_memory_reserved(device) - reserved,
        how=CUDA_HOW,
    )


def _on_host(call: Callable[[], Any]) -> Memory:
    try:
        _trim_heap()
        _CLEAR_REFS.write_text("5")  # resets VmHWM to the current resident set
        resident, _ = _status_bytes("VmRSS"), _status_bytes("VmHWM")
    except OSError as error:
        return Memory(None, LINUX_HOW, reason=f"{sys.platform}: {error.strerror or error}")
    result = call()  # what it raises is no fault of the measuring
    peak = _status_bytes("VmHWM")
    del result
    return Memory(max(0, peak - resident), LINUX_HOW)


def _status_bytes(name: str) -> int:
    found = proc_bytes(_STATUS, name)
    if found is None:
        raise OSError(0, f"{name} is not in {_STATUS}")
    return found


def _trim_heap() -> None:
    """Give freed memory back: else it hides in the resident set and a call that reuses it looks free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        raise OSError(0, "the C library has no malloc_trim, so freed memory would hide in the resident set")
    trim(0)

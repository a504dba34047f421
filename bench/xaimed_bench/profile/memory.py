"""Memory: peaks against the batch, and the largest batch that fits."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import final

import torch

from xaimed_bench.measure.case import one_line
from xaimed_bench.measure.memory import peak_above_resident
from xaimed_bench.profile.methods import MEASURED, calls
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant
from xaimed_core.memory import free_bytes, is_out_of_memory
from xaimed_reports.profile.card import LargestBatch, PeakMemory

CAP = 0.9
"""Share of the free memory that the search may take, so that the device stays usable meanwhile."""
MOST_TRIES = 12


def measure_memory(setting: Setting) -> tuple[PeakMemory, ...]:
    """The peak of one call above what was resident before it, for growing batches, in float32."""
    rows: list[PeakMemory] = []
    for batch in setting.batches:
        try:
            found = calls(setting.subject(batch), Variant("fp32"), setting)
            for name in MEASURED:
                found[name]()  # what only the first call needs is no memory of the method
                peak = peak_above_resident(found[name], setting.device)
                rows.append(PeakMemory(name, batch, peak.peak_bytes, peak.reason))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            rows.append(PeakMemory("every method", batch, None, one_line(error)))
            break
    return tuple(rows)


def find_largest(setting: Setting, peaks: Sequence[PeakMemory]) -> tuple[LargestBatch, ...]:
    """The largest batch of each call whose ``peaks`` are known: tried out on CUDA, computed on a CPU.

    A CPU has no allocator that refuses in time: the system would end the process, or swap.
    """
    each = {name: bytes_per_image([p for p in peaks if p.what == name]) for name in MEASURED}
    if setting.device.type != "cuda":
        how = (
            f"computed: {CAP:.0%} of the free memory over an image's share of the largest peak; not tried out"
        )
        free = free_bytes(setting.device)
        return tuple(
            LargestBatch(name, int(CAP * free / size), how)
            if size
            else LargestBatch(name, None, how, "its memory could not be measured")
            for name, size in each.items()
        )
    return tuple(_tried_out(name, size, setting) for name, size in each.items())


def bytes_per_image(peaks: Sequence[PeakMemory]) -> float | None:
    """An image's share of the peak at the largest batch measured, what is paid once included; None without a peak.

    The slope between two batches would leave that out, but a host's peaks are too coarse for it.
    """
    known = [(p.batch, p.peak_bytes) for p in peaks if p.peak_bytes]
    if not known:
        return None
    batch, peak = max(known)
    return peak / batch


@final
@dataclass(frozen=True)
class Search:
    """``fits``: the largest batch that went through, 0 for none. ``stopped_by``: why the next larger did not."""

    fits: int
    stopped_by: str | None


def search_largest(why_not: Callable[[int], str | None], guess: int) -> Search:
    """The largest batch to within 3 %, from a first guess. ``why_not(batch)``: None where it fits, else the reason."""
    fits, fails, reason = 0, 0, None
    batch = max(1, guess)
    step = max(1, batch // 8)
    for _ in range(MOST_TRIES):
        refused = why_not(batch)
        if refused is None:
            fits = batch
        else:
            fails, reason = batch, refused
        if fails and fails - fits <= max(1, fails // 32):
            break
        if fits and fails:
            batch = (fits + fails) // 2
        else:  # away from the guess in growing steps
            batch = max(1, batch - step) if fails else batch + step
            step *= 2
    return Search(fits, reason)


def _tried_out(name: str, each: float | None, setting: Setting) -> LargestBatch:
    how = f"tried out under a cap of {CAP:.0%} of the free memory, to within 3 %"
    with _capped(setting.device) as allowed:
        guess = int(allowed / each) if each else setting.batch
        found = search_largest(lambda batch: _why_not(name, batch, setting), guess)
    return LargestBatch(name, found.fits or None, how, found.stopped_by or "larger ones were not tried")


def _why_not(name: str, batch: int, setting: Setting) -> str | None:
    """None where ``batch`` images go through, else the error that stopped them."""
    subject = setting.subject(1)
    reason: str | None = None
    try:
        images = subject.images.expand(batch, -1, -1, -1).contiguous()
        larger = replace(subject, images=images, classes=subject.classes * batch)
        calls(larger, Variant("fp32"), setting)[name]()
        torch.cuda.synchronize(setting.device)
    except (RuntimeError, MemoryError) as error:  # out of memory, or a size that a library cannot index
        reason = "out of memory" if is_out_of_memory(error) else one_line(error)
    gc.collect()
    torch.cuda.empty_cache()
    return reason


@contextmanager
def _capped(device: torch.device) -> Generator[int]:
    """Inside, this process may take no more than `CAP` of what is free now; gives these bytes."""
    torch.cuda.empty_cache()
    allowed = int(CAP * free_bytes(device))
    _, total = torch.cuda.mem_get_info(device)
    before = torch.cuda.get_per_process_memory_fraction(device)
    torch.cuda.set_per_process_memory_fraction(
        (torch.cuda.memory_allocated(device) + allowed) / total, device
    )
    try:
        yield allowed
    finally:
        torch.cuda.set_per_process_memory_fraction(before, device)
        torch.cuda.empty_cache()

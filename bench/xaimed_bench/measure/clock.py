"""One timed call: wall clock with the device synchronised, and CUDA events where there is a CUDA device."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch

L2_FLUSH_BYTES = 256 * 2**20  # larger than any L2 cache so far (B200: 126 MB)


@final
@dataclass(frozen=True)
class Sample:
    """Seconds of one call. ``device_s`` lies between two CUDA events; None on a CPU."""

    wall_s: float
    device_s: float | None


class Clock:
    """Times calls on ``device``. ``cold``: on CUDA, overwrite the L2 cache before each call."""

    def __init__(self, device: torch.device, *, cold: bool = False) -> None:
        self.device = device
        self._flush = (
            torch.empty(L2_FLUSH_BYTES, dtype=torch.uint8, device=device)
            if cold and device.type == "cuda"
            else None
        )

    @property
    def cache(self) -> str:
        """What a sample finds in the last-level cache, in words for the record."""
        return "L2 overwritten before each call" if self._flush is not None else "as the call before left it"

    def time(self, call: Callable[[], Any]) -> Sample:
        """Time one call; its result is dropped after the clock has stopped."""
        if self.device.type == "cuda":
            return self._time_cuda(call)
        start = time.perf_counter()
        result = call()
        stop = time.perf_counter()
        del result
        return Sample(stop - start, None)

    def _time_cuda(self, call: Callable[[], Any]) -> Sample:
        if self._flush is not None:
            self._flush.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(self.device)
        start = time.perf_counter()
        begin.record(torch.cuda.current_stream(self.device))
        result = call()
        end.record(torch.cuda.current_stream(self.device))
        torch.cuda.synchronize(self.device)
        stop = time.perf_counter()
        del result
        return Sample(stop - start, begin.elapsed_time(end) / 1e3)

    def first(self, call: Callable[[], Any]) -> tuple[Any, float]:
        """Run a call whose result is kept, with its wall time in seconds."""
        self.synchronize()
        start = time.perf_counter()
        result = call()
        self.synchronize()
        return result, time.perf_counter() - start

    def synchronize(self) -> None:
        """Wait for the device; nothing on a CPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@contextmanager
def without_garbage_collection() -> Generator[None]:
    """No collection by surprise inside: `gc.collect()` between samples is cheap there, for it sees new objects only."""
    gc.collect()
    gc.freeze()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()

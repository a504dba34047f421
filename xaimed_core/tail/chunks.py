"""Rows of ablations in chunks: how many are fastest, how many fit, and fewer after running out of memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

FEWEST = 4
"""Pointwise work on as many rows fits the cache; matrix products want more (measured: see README.md)."""

ALWAYS = 16
"""Chunks up to so many rows are tried in any case: a busy moment must not end the search at the fewest."""

GAIN = 1.05
"""A larger chunk must be this much faster per row: less would only spend memory, or be noise."""


REPEATS = 3


def in_chunks(count: int, rows: int, run: Callable[[slice], Tensor]) -> Iterator[tuple[slice, Tensor]]:
    """Yield ``(slice, run(slice))`` over ``count`` rows, at most ``rows`` at a time.

    After an out-of-memory error the chunk is halved for the rest; at a single row the error is raised.
    """
    start = 0
    while start < count:
        part = slice(start, min(start + rows, count))
        try:
            result = run(part)
        except RuntimeError as error:
            if rows == 1 or not _out_of_memory(error):
                raise
            rows = max(1, min(rows, part.stop - part.start) // 2)
            continue
        yield part, result
        start = part.stop


def fastest_rows(run: Callable[[slice], Tensor], most: int, device: torch.device) -> int:
    """The chunk with the highest throughput, up to ``most`` rows: doubled for as long as that pays.

    The results of these runs are thrown away, so that every call computes with the same chunks, bit for bit.
    """
    if most <= FEWEST:
        return max(most, 1)
    rows, seconds_per_row = FEWEST, dict[int, float]()
    try:
        run(slice(0, rows))  # the first run pays for whatever is set up once
        while rows <= most and (
            rows <= ALWAYS or GAIN * seconds_per_row[rows // 2] <= seconds_per_row[rows // 4]
        ):
            seconds_per_row[rows] = _seconds(lambda part=slice(0, rows): run(part), device) / rows
            rows *= 2
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
    best = min(seconds_per_row.values(), default=0.0)
    return min((rows for rows, seconds in seconds_per_row.items() if seconds <= GAIN * best), default=FEWEST)


def _seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    """The shortest of a few runs: whatever else the machine does only lengthens one."""
    found: list[float] = []
    for _ in range(REPEATS):
        _finish(device)
        start = time.perf_counter()
        run()
        _finish(device)
        found.append(time.perf_counter() - start)
    return min(found)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has its own class; the CPU's allocator only a message."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)

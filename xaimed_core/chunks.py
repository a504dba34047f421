"""Rows in chunks, for ablations and for perturbed images: how many are fastest, and fewer where memory runs out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from xaimed_core.memory import is_out_of_memory

FEWEST = 4
"""Pointwise work on as many rows fits the cache; matrix products want more (measured: see tail/README.md)."""

ALWAYS = 16
"""Chunks up to so many rows are tried in any case: a busy moment must not end the search at the fewest."""

GAIN = 1.05
"""A larger chunk must be this much faster per row: less would only spend memory, or be noise."""


ENOUGH_TO_MEASURE = 256
"""Rows from which on measuring the fastest chunk costs less than it gains."""

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
        except Exception as error:
            if part.stop - start == 1 or not is_out_of_memory(error):
                raise
            rows = (part.stop - start) // 2
            continue
        yield part, result
        start = part.stop


def fastest_rows(
    run: Callable[[slice], Tensor], most: int, device: torch.device, repeats: int = REPEATS
) -> int:
    """The chunk with the highest throughput, up to ``most`` rows: doubled for as long as that pays.

    Each is timed ``repeats`` times.
    The results of these runs are thrown away, so that every call computes with the same chunks, bit for bit. What runs
    out of memory is never the answer: fewer rows are tried again, and the error is raised where one row does not fit.
    """
    if most <= FEWEST:
        return max(most, 1)
    rows, taken = FEWEST, dict[int, float]()
    while rows <= most and (rows <= ALWAYS or GAIN * taken[rows // 2] <= taken[rows // 4]):
        try:
            if not taken:
                run(slice(0, rows))  # the first run pays for whatever is set up once
            taken[rows] = seconds_per_row(run, rows, device, repeats)
        except Exception as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
            rows = most = rows // 2
            continue
        rows *= 2
    fitting = {rows: seconds for rows, seconds in taken.items() if rows <= most}
    return min(rows for rows, seconds in fitting.items() if seconds <= GAIN * min(fitting.values()))


def seconds_per_row(
    run: Callable[[slice], Tensor], rows: int, device: torch.device, repeats: int = REPEATS
) -> float:
    """Of the shortest of a few runs: whatever else the machine does only lengthens one."""
    found: list[float] = []
    for _ in range(repeats):
        _finish(device)
        start = time.perf_counter()
        run(slice(0, rows))
        _finish(device)
        found.append(time.perf_counter() - start)
    return min(found) / rows


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

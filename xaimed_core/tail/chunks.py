"""Rows of ablated activations in chunks that fit the memory, smaller ones after running out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def in_chunks(count: int, rows: int, run: Callable[[slice], Tensor]) -> Iterator[tuple[slice, Tensor]]:
    """Yield ``(slice, run(slice))`` over ``count`` rows, at most ``rows`` at a time.

    After an out-of-memory error the chunk is halved for the rest; it is raised again at a single row.
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


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has its own class; the CPU allocator only a message."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)

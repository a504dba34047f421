"""Where the host waits for a GPU, in the words of torch's own debug mode."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def watching_waits() -> Generator[list[str]]:
    """The list is filled at the end: a line ``file:line`` for each time the host waited for the GPU inside.

    Only what names a wait counts. Torch also says, once in a process, that the mode itself is a prototype.
    """
    waits: list[str] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode("default")
            waits += [
                f"{warning.filename}:{warning.lineno}"
                for warning in said
                if str(warning.message).startswith("called a synchronizing CUDA operation")
            ]

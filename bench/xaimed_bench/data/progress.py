"""How far a long load is, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

LONG = 64
"""From this many images on, loading takes seconds and a progress bar is worth its line."""


@contextmanager
def bar(what: str, total: int, shown: bool) -> Generator[Callable[[], None]]:
    """What to call after each image: it moves a progress bar on stderr, or does nothing."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)

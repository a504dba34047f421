"""The progress of long work, kept by rich: a bar on a terminal, elsewhere a line for each step; both on stderr."""

from __future__ import annotations

import math
import sys
import time
from datetime import timedelta
from types import TracebackType
from typing import Self, final

from xaimed_reports.format import printable

LONG = 64
"""From this many images on, reading them takes seconds and a bar is worth its line."""
LINE_EVERY_S, DRAWN_EVERY_S = 10.0, 0.1
"""Between two lines of a log, and between two drawings of a bar, where there are many short steps."""


@final
class Steps:
    """``with Steps("run", 60) as steps: ...``, and ``steps.begin("alike-03")`` before each of the 60 steps.

    It draws only when a step begins, and starts no thread: nothing may run beside what is timed.

    :param short: many short steps: not each is shown.
    :param shown: False keeps count without showing it; without ``with`` nothing is shown either.
    """

    def __init__(self, what: str, count: int, *, short: bool = False, shown: bool = True) -> None:
        from rich.console import Console  # here, so that reading images without progress needs no rich
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        every_s = DRAWN_EVERY_S if console.is_terminal else LINE_EVERY_S
        self._what, self._count, self._every_s, self._shown = what, count, every_s * short, shown
        self._rich = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            speed_estimate_period=math.inf,
            get_time=time.perf_counter,
            disable=not (shown and console.is_terminal),
        )
        self._task = self._rich.add_task(what, total=count)
        self._begun, self._shown_at_s = 0, -math.inf

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rich.stop()

    def begin(self, name: str, *, most_s: float = math.inf) -> str:
        """Count the step before as done, and show and return where this one stands: "run 3 of 60: NAME, 0:12:00 left".

        The time left follows the pace of the steps so far; before the second one it is not known. Where the work ends
        after ``most_s`` whatever is done, that is said instead, with "at most".
        """
        self._rich.advance(self._task, min(self._begun, 1))
        self._begun += 1
        left_s = self._rich.tasks[0].time_remaining
        left = "" if left_s is None else f", {timedelta(seconds=round(left_s))} left"
        if most_s < math.inf:
            left = f", {timedelta(seconds=round(max(0.0, most_s)))} left at most"
        said = printable(f"{self._what} {min(self._begun, self._count)} of {self._count}: {name}{left}")
        now = time.perf_counter()
        if self._shown and now - self._shown_at_s >= self._every_s:
            self._shown_at_s = now
            self._rich.update(self._task, description=said, refresh=True)
            if self._rich.disable:
                self._rich.console.print(said, markup=False, highlight=False, soft_wrap=True)
        return said


def over_images(what: str, count: int, shown: bool | None = None) -> Steps:
    """Steps over images: shown where there are many and somebody watches a terminal, or as asked."""
    many = count >= LONG and sys.stderr.isatty()
    return Steps(what, count, short=True, shown=many if shown is None else shown)

"""A line before anything that takes more than 3 s, and the time left where a terminal is."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO, final

PATIENCE_S = 3.0
"""Work that takes longer is announced."""

REFRESH_S = 0.2


@final
class Progress:
    """``with Progress("road", total=100) as step: ... step(4)``: silent unless the whole takes more than 3 s.

    Then one line goes to stderr, "road: about 100 forwards, 2 min"; a terminal also shows the time left, and clears it
    at the end or when interrupted. ``show=False`` is always silent; ``early=False`` until the second step, for work
    beside which no other thread may be. Any thread may step; nothing here ever raises.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = "forwards",
        *,
        show: bool = True,
        early: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._total, self._unit, self._show, self._early = what, total, unit, show, early
        self._stream, self._clock = stream, clock
        self._lock = threading.Lock()
        self._done = self._first = 0
        self._began = self._first_at = self._drawn_at = 0.0
        self._said = self._drawn = self._closed = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Callable[[int], None]:
        self._began = self._clock()
        if self._show and self._early:
            self._timer = threading.Timer(PATIENCE_S, self.overdue)
            self._timer.daemon = True
            with suppress(Exception):
                self._timer.start()
        return self.step

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join(1)  # a thread more would be taken for someone who draws random numbers
        with suppress(Exception), self._lock:
            self._closed = True
            if self._drawn:
                self._write("\r\x1b[K")

    def step(self, count: int = 1) -> None:
        """``count`` more units are done."""
        if not self._show:
            return
        with suppress(Exception), self._lock:
            now = self._clock()
            self._done += count
            if self._first == 0:  # it holds compiling and warming up, which no later step does
                self._first, self._first_at = self._done, now
                return
            left_s = (now - self._first_at) / (self._done - self._first) * (self._total - self._done)
            whole_s = now - self._began + left_s
            if left_s > 0 and whole_s > PATIENCE_S:
                self._announce(_duration(whole_s))
            if self._said and now - self._drawn_at >= REFRESH_S and self._terminal():
                self._drawn, self._drawn_at = True, now
                self._write(
                    f"\r\x1b[K{self._what}: {self._done} of {self._total} {self._unit}, {_duration(left_s)} left"
                )

    def overdue(self) -> None:
        """Say that 3 s have passed, where no step has given an estimate yet (the first may compile kernels)."""
        with suppress(Exception), self._lock:
            if not self._closed:
                self._announce(f"the first of them {PATIENCE_S:.0f} s by now (it may compile kernels, once)")

    def _announce(self, how_long: str) -> None:
        if not self._said:
            self._said = True
            self._write(f"{self._what}: about {self._total} {self._unit}, {how_long}\n")

    def _terminal(self) -> bool:
        stream = self._stream or sys.stderr
        return stream is not None and stream.isatty()  # pyright: ignore[reportUnnecessaryComparison] # None without one

    def _write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        stream.write(text)
        stream.flush()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""The multigrid on the CPU, compiled by Numba, and the compiler with a typed face. Imported when it first runs.

Everything compiles again into each caller, and costs a wrapper more where Python may call it: a function is an
`entry`, `inlined` into the one place that calls it, or `compiled` for several.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache, update_wrapper
from inspect import getsource
from types import CellType, FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numba
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])

EXACT_ORDER = {"contract", "arcp", "nsz", "afn"}
"""Sums keep the order they are written in; products may fuse with sums. NaN stays NaN."""

ANY_ORDER = {"reassoc", "contract", "arcp", "nsz", "afn"}
"""Sums may be split over vector lanes, as a dot product must be to be fast."""


def entry(*inside: ModuleType) -> Callable[[Function], Function]:
    """A function as machine code that Python calls without its lock, kept on disk where that is possible.

    Numba looks at the function's own file to see whether what it kept is still right. ``inside``: the other files
    whose functions, constants and tuples are compiled into it.
    """

    def build(function: Function) -> Function:
        if not can_cache():
            return _built(function)
        return _built(_closed_over(function, tuple(map(getsource, inside))), cache=True)

    return build


def _closed_over(function: Any, text: tuple[str, ...]) -> Any:
    """``function`` with ``text`` in its closure, which is part of what Numba knows it by."""
    code = function.__code__.replace(co_freevars=("text",))
    return update_wrapper(FunctionType(code, function.__globals__, closure=(CellType(text),)), function)


def compiled(function: Function) -> Function:
    """``function`` as machine code for compiled callers."""
    return _built(function, no_cpython_wrapper=True)


def compiled_in_any_order(function: Function) -> Function:
    """As `compiled`, for sums whose order does not matter."""
    return _built(function, no_cpython_wrapper=True, fastmath=ANY_ORDER)


def inlined(function: Function) -> Function:
    """``function`` as part of its only caller."""
    return _built(function, no_cpython_wrapper=True, inline="always")


def _built(function: Function, *, fastmath: set[str] = EXACT_ORDER, **options: Any) -> Function:
    njit: Any = numba.njit
    return cast(
        Function,
        njit(nogil=True, fastmath=fastmath, error_model="numpy", no_cfunc_wrapper=True, **options)(function),
    )


@contextmanager
def announcing(what: str) -> Generator[None]:
    """Say on stderr, in one line, when a function of this package is really compiled inside; else nothing."""
    with event.install_listener("numba:compile", _Announcement(what)):
        yield


class _Announcement(event.Listener):
    """Numba broadcasts when it compiles, and not when it finds machine code on disk or in memory."""

    def __init__(self, what: str) -> None:
        self.what, self.said = what, False

    def on_start(self, event: Any) -> None:
        """Say it, if it is one of our functions and nothing was said yet."""
        if self.said or not event.data["dispatcher"].py_func.__module__.startswith("xaimed_kernels."):
            return
        often = (
            "once" if can_cache() else "in each process (set NUMBA_CACHE_DIR to a folder that can be written)"
        )
        print(
            f"xaimed: compiling {self.what} for this processor, {often}; about 15 s",
            file=sys.stderr,
            flush=True,
        )
        self.said = True

    def on_end(self, event: Any) -> None:
        """Say nothing."""


@cache
def can_cache() -> bool:
    """Whether machine code can be kept: beside the package, else where NUMBA_CACHE_DIR or the user's cache is.

    False, e.g. in a read-only container without a home, means that each process compiles anew.
    """
    try:
        build: Any = numba.njit(cache=True)
        build(_anything)
    except RuntimeError:
        return False
    return True


def _anything() -> None: ...

"""Numba's compiler with a typed face. Imported only when the CPU path first runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

EXACT_ORDER = {"contract", "arcp", "nsz", "afn"}
"""Sums keep the order they are written in; products may fuse with sums. NaN stays NaN."""

ANY_ORDER = {"reassoc", "contract", "arcp", "nsz", "afn"}
"""Sums may be split over vector lanes, as a dot product must be to be fast."""


def compiled(function: Function, *, fastmath: set[str] = EXACT_ORDER) -> Function:
    """``function`` as machine code that runs without the interpreter lock, kept on disk where that is possible."""
    build: Any = numba.njit(nogil=True, fastmath=fastmath, error_model="numpy", cache=can_cache())
    return cast(Function, build(function))


def compiled_in_any_order(function: Function) -> Function:
    """As `compiled`, for sums whose order does not matter."""
    return compiled(function, fastmath=ANY_ORDER)


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

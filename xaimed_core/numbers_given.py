"""Whether what a caller gave is a number: Python's or numpy's, and no bool."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, TypeGuard


def is_real(given: Any) -> TypeGuard[float]:
    """A real number, perhaps NaN or infinite."""
    return not isinstance(given, bool) and isinstance(given, Real)


def is_whole(given: Any) -> TypeGuard[int]:
    """A whole number."""
    return not isinstance(given, bool) and isinstance(given, Integral)

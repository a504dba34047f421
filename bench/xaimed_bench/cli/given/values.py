"""Numbers and texts of the command line, as types of argparse's options."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from xaimed_reports.profile.card import LARGEST_RATE


def count(least: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number, ``least`` at least."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number < 2**31:
            raise argparse.ArgumentTypeError(f"{text!r} given; give a whole number, {least} at least")
        return number

    return read


def words(text: str) -> str:
    """The type of an option that takes a text: an empty one would mean that it was not given."""
    if not text.strip():
        raise argparse.ArgumentTypeError("nothing given; give a value, or leave the option out")
    return text


def share(text: str) -> float:
    """The type of an option that takes a percentage above 0 %: as a share."""
    try:
        found = float(text.removesuffix("%")) / 100 if text.endswith("%") else 0.0
    except ValueError:
        found = 0.0
    if not 0 < found <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} given; give a percentage above 0% and up to 100%, e.g. 80%"
        )
    return found


def within(
    *, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> Callable[[str], float]:
    """The type of an option that takes a finite number within limits."""
    limits = (f"{least:g} at least" * (least > -math.inf), f"above {above:g}" * (above > -math.inf))
    said = " and ".join(filter(None, (*limits, f"below {below:g}" * (below < math.inf))))

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value < below and above < value < math.inf):
            raise argparse.ArgumentTypeError(f"{text!r} given; give a number {said}")
        return value

    return read


def rate(text: str) -> float:
    """The type of an option that takes thousands of millions a second, as a number a second."""
    try:
        found = 1e9 * float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found < LARGEST_RATE:
        raise argparse.ArgumentTypeError(
            f"{text!r} given; give a number above 0 in thousands of millions a second, e.g. 927"
        )
    return found

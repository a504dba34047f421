"""How long to measure: named profiles and when a case has enough samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, final

from xaimed_reports.compare.ratio import FEWEST_BLOCKS, interval_of_median

ProfileName = Literal["quick", "full", "gate"]


@final
@dataclass(frozen=True)
class Plan:
    """Sampling of one case. Times in seconds, error as a share of the median."""

    budget_s: float
    """Time for all timed blocks of one case; the last block that begins inside it is finished."""
    min_blocks: int
    """Taken whatever they cost, unless that is more than what is left until ``until_s``."""
    max_blocks: int
    relative_error: float
    """Stop early when the 95 % intervals of every arm's median, and of the median of its quotients with the first arm,
    are narrower than this to either side."""
    warm_up_s: float
    """Upper limit for the warm-up of one arm after its first call."""
    total_s: float | None = None
    """Time for the whole run: cases near its end get smaller budgets. None: no limit."""
    ends: bool = False
    """Whether cases that no longer fit into ``total_s`` are left out."""
    until_s: float = math.inf
    """The clock's reading by which this case must have ended."""
    in_any_case: bool = False
    """Whether one block is taken even if it ends after ``until_s``."""


class OutOfTimeError(Exception):
    """A case does not fit into what is left of the run's time."""


PROFILES: dict[ProfileName, Plan] = {
    "quick": Plan(
        budget_s=8.0,
        min_blocks=4,
        max_blocks=60,
        relative_error=0.01,
        warm_up_s=2.0,
        total_s=300.0,
        ends=True,
    ),
    "full": Plan(budget_s=30.0, min_blocks=8, max_blocks=400, relative_error=0.003, warm_up_s=20.0),
    "gate": Plan(
        budget_s=7.0, min_blocks=4, max_blocks=120, relative_error=0.003, warm_up_s=1.0, total_s=80.0
    ),
}


def median_error(samples: Sequence[float]) -> float:
    """Half the median's 95 % interval (order statistics), as its share; inf below 6 samples."""
    if len(samples) < FEWEST_BLOCKS:
        return math.inf
    low, high, _ = interval_of_median(samples)
    return (high - low) / 2 / median(samples)

"""Interleaved timing: A B C, C B A, A B C, ... until every arm's median is known well enough."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, final

from xaimed_bench.measure.clock import Clock, without_garbage_collection
from xaimed_bench.measure.plan import OutOfTimeError, Plan, median_error
from xaimed_reports.compare.ratio import interval_of_median
from xaimed_reports.store.records import Timing

Call = Callable[[], Any]

CARRY_OVER_LIMIT = 0.03
"""An arm this much slower or faster after another arm than after itself is judged by the latter calls alone."""
MOST_REPEATS = 8
COSTLY_SHARE = 1 / 40
"""Of the budget: an arm whose visit takes more than that leaves few blocks, so it is called less often."""
FEWEST_VISITS = 2
"""Visits to notice a carry-over by; noticing one that is none only costs samples."""


@final
@dataclass(frozen=True)
class Interleaved:
    """The timings of all arms and each arm's carry-over (None where it is not known)."""

    timings: dict[str, Timing]
    carry_over: dict[str, float | None]


@dataclass
class _Samples:
    wall_s: list[float] = field(default_factory=list[float])
    device_s: list[float] = field(default_factory=list[float])
    block: list[int] = field(default_factory=list[int])
    after: list[str] = field(default_factory=list[str])


def interleave(
    arms: Mapping[str, Call],
    first_s: Mapping[str, float],
    *,
    plan: Plan,
    clock: Clock,
    between: Callable[[], None] | None = None,
) -> Interleaved:
    """Time ``arms`` against each other. ``first_s``: what each arm's first call, already made, took.

    A block visits each arm once, every other block in the opposite order. An arm repeats its call within a visit:
    the first call shows what the arm before left behind (caches, waiting threads), the next ones what the arm costs
    by itself, and an arm much faster than the slowest is not starved. Where the first calls differ from the next
    ones by more than noise, only the latter count (``order`` is then "separated"); all are kept.
    ``between`` runs before each block, to note the state of the machine.
    Where the plan has too little time left for that, calls are not repeated, and blocks are fewer than its fewest.
    Raises OutOfTimeError where there is no time for one block, unless the plan wants it in any case.
    """
    _need_time(first_s, 1, plan)
    warm_up_s, typical_s = _warm_up(arms, first_s, plan, clock)
    _need_time(typical_s, 2, plan)  # the second for the memory
    samples = _blocks(arms, typical_s, plan, clock, between)
    timings: dict[str, Timing] = {}
    carry_over: dict[str, float | None] = {}
    for name, found in samples.items():
        carry_over[name], separated = _carry_over(name, found)
        timings[name] = Timing(
            wall_s=tuple(found.wall_s),
            block=tuple(found.block),
            after=tuple(found.after),
            first_s=first_s[name],
            warm_up_s=warm_up_s[name],
            device_s=tuple(found.device_s) if found.device_s else None,
            cache=clock.cache,
            arm=name,
            order="separated" if separated else "interleaved",
        )
    return Interleaved(timings, carry_over)


def _need_time(call_s: Mapping[str, float], rounds: int, plan: Plan) -> None:
    """Raise OutOfTimeError unless every arm can still be called so often, or must be."""
    if not plan.in_any_case and not _is_time(rounds * sum(call_s.values()), plan):
        raise OutOfTimeError


def _is_time(seconds: float, plan: Plan) -> bool:
    return time.perf_counter() + seconds <= plan.until_s


def _warm_up(
    arms: Mapping[str, Call], first_s: Mapping[str, float], plan: Plan, clock: Clock
) -> tuple[dict[str, float], dict[str, float]]:
    """Call each arm, once at least, until it no longer gets faster; seconds spent, and the last call's seconds."""
    spent_s: dict[str, float] = {}
    last_s: dict[str, float] = {}
    for name, call in arms.items():
        began = time.perf_counter()
        before = math.inf
        now = first_s[name]
        while now <= 0.95 * before:
            before, now = now, clock.time(call).wall_s
            if time.perf_counter() - began + now > plan.warm_up_s:
                break
        spent_s[name], last_s[name] = time.perf_counter() - began, now
    return spent_s, last_s


def _repeats(typical_s: Mapping[str, float], plan: Plan) -> dict[str, int]:
    """Calls per visit: as many as fit into a quarter of the slowest arm's call, `MOST_REPEATS` at most.

    At least 3, so that one interrupted call does not move a visit's median, or 2 where 3 would take too long; an arm
    so slow that calling it twice would leave few blocks is called once, and so is each where the run's time ends
    before the fewest blocks.
    """
    slowest_s = max(typical_s.values())
    costly_s = plan.budget_s * COSTLY_SHARE

    def of(arm_s: float) -> int:
        if arm_s > max(costly_s, slowest_s / 2):
            return 1
        fewest = 3 if 3 * arm_s <= costly_s else 2
        return max(fewest, min(MOST_REPEATS, int(slowest_s / (4 * max(arm_s, 1e-9)))))

    found = {name: of(arm_s) for name, arm_s in typical_s.items()}
    block_s = sum(found[name] * arm_s for name, arm_s in typical_s.items())
    leisure = _is_time(plan.min_blocks * block_s + sum(typical_s.values()), plan)
    return found if leisure else dict.fromkeys(found, 1)


def _blocks(
    arms: Mapping[str, Call],
    typical_s: Mapping[str, float],
    plan: Plan,
    clock: Clock,
    between: Callable[[], None] | None,
) -> dict[str, _Samples]:
    samples = {name: _Samples() for name in arms}
    repeats, memory_s = _repeats(typical_s, plan), sum(typical_s.values())
    began = time.perf_counter()
    last = ""
    with without_garbage_collection():
        for block in range(plan.max_blocks):
            if between is not None:
                between()
            gc.collect()
            for name in arms if block % 2 == 0 else reversed(list(arms)):
                for _ in range(repeats[name]):
                    last = _take(name, arms[name], samples[name], block, last, clock)
            spent_s = time.perf_counter() - began
            next_s = spent_s / (block + 1)
            enough = spent_s + next_s > plan.budget_s or _known_well_enough(samples, plan)
            if (block + 1 >= plan.min_blocks and enough) or not _is_time(next_s + memory_s, plan):
                break
    return samples


def _take(name: str, call: Call, into: _Samples, block: int, last: str, clock: Clock) -> str:
    sample = clock.time(call)
    into.wall_s.append(sample.wall_s)
    into.block.append(block)
    into.after.append(last)
    if sample.device_s is not None:
        into.device_s.append(sample.device_s)
    return name


def _known_well_enough(samples: Mapping[str, _Samples], plan: Plan) -> bool:
    """Whether the arms' medians are known, and the medians of the blocks' quotients, by which verdicts go."""
    first, *others = samples.values()
    found = [s.wall_s for s in samples.values()] + [_quotients(first, s) for s in others]
    return all(median_error(values) < plan.relative_error for values in found)


def _quotients(a: _Samples, b: _Samples) -> list[float]:
    """The quotient of the two arms' medians in each block."""
    over, under = _by_block(a), _by_block(b)
    return [median(over[block]) / median(under[block]) for block in over]


def _by_block(samples: _Samples) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for wall_s, block in zip(samples.wall_s, samples.block, strict=True):
        found.setdefault(block, []).append(wall_s)
    return found


def _carry_over(name: str, samples: _Samples) -> tuple[float | None, bool]:
    """Time after another arm over time after itself, the median of the blocks; and whether that is more than noise."""
    ratios = _carry_overs(name, samples)
    if not ratios:
        return None, False
    low, high, _ = interval_of_median(ratios)
    beyond = low > 1 + CARRY_OVER_LIMIT or high < 1 / (1 + CARRY_OVER_LIMIT)
    return median(ratios), beyond and len(ratios) >= FEWEST_VISITS


def _carry_overs(name: str, samples: _Samples) -> list[float]:
    """Per block that has both: the call after another arm over the median of the calls after the arm itself."""
    own: dict[int, list[float]] = {}
    other: dict[int, float] = {}
    for wall_s, block, after in zip(samples.wall_s, samples.block, samples.after, strict=True):
        if after == name:
            own.setdefault(block, []).append(wall_s)
        elif after:
            other[block] = wall_s
    return [other[block] / median(own[block]) for block in other if block in own]

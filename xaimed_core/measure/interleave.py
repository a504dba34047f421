"""Interleaved timing: A B C, C B A, A B C, ... until every arm's median is known well enough."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, final

from xaimed_reports.records import Timing

from .clock import Clock, without_garbage_collection
from .plan import Plan, median_error

Call = Callable[[], Any]

CARRY_OVER_LIMIT = 0.03
"""An arm that runs this much slower or faster after another arm than after itself is measured apart."""
MOST_REPEATS = 8


@final
@dataclass(frozen=True)
class Interleaved:
    """The timings of all arms and each arm's carry-over (None where it could not be told)."""

    timings: dict[str, Timing]
    carry_over: dict[str, float | None]


@dataclass
class _Samples:
    """What one arm has gathered so far."""

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
    ``between`` runs before each block, to note the state of the machine.

    A block visits each arm once, every other block in the opposite order. An arm much faster than the slowest
    repeats its call within a visit, so that slow references do not starve it. When an arm's time depends on what
    ran before it, the blocks so far are dropped and each visit starts with a call that is not counted.
    """
    warm_up_s, typical_s = _warm_up(arms, first_s, plan, clock)
    repeats = {name: _repeats(typical_s[name], max(typical_s.values())) for name in arms}
    samples, spent_s = _blocks(arms, repeats, plan, plan.budget_s, clock, between, settle=False)
    carry_over = {name: _carry_over(name, s) for name, s in samples.items()}
    order: Literal["interleaved", "separated"] = "interleaved"
    if any(_depends_on_order(name, s) for name, s in samples.items()):
        order = "separated"
        left_s = max(plan.budget_s - spent_s, plan.budget_s / 2)
        repeats = {name: max(2, r) for name, r in repeats.items()}
        samples, _ = _blocks(arms, repeats, plan, left_s, clock, between, settle=True)
    timings = {
        name: Timing(
            wall_s=tuple(s.wall_s),
            block=tuple(s.block),
            after=tuple(s.after),
            first_s=first_s[name],
            warm_up_s=warm_up_s[name],
            device_s=tuple(s.device_s) if s.device_s else None,
            cache=clock.cache,
            order=order,
        )
        for name, s in samples.items()
    }
    return Interleaved(timings, carry_over)


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


def _repeats(arm_s: float, slowest_s: float) -> int:
    """Calls per visit: as many as fit into a quarter of the slowest arm's call, 1 to `MOST_REPEATS`."""
    return max(1, min(MOST_REPEATS, int(slowest_s / (4 * max(arm_s, 1e-9)))))


def _blocks(
    arms: Mapping[str, Call],
    repeats: Mapping[str, int],
    plan: Plan,
    budget_s: float,
    clock: Clock,
    between: Callable[[], None] | None,
    *,
    settle: bool,
) -> tuple[dict[str, _Samples], float]:
    samples = {name: _Samples() for name in arms}
    began = time.perf_counter()
    last = ""
    with without_garbage_collection():
        for block in range(plan.max_blocks):
            if between is not None:
                between()
            gc.collect()
            for name in arms if block % 2 == 0 else reversed(list(arms)):
                last = _visit(
                    name, arms[name], repeats[name], samples[name], block, last, clock, settle=settle
                )
            spent_s = time.perf_counter() - began
            over = spent_s + spent_s / (block + 1) > budget_s
            if block + 1 >= plan.min_blocks and (over or _known_well_enough(samples, plan)):
                break
    return samples, time.perf_counter() - began


def _visit(
    name: str, call: Call, repeats: int, into: _Samples, block: int, last: str, clock: Clock, *, settle: bool
) -> str:
    if settle and last != name:
        clock.time(call)
        last = name
    for _ in range(repeats):
        sample = clock.time(call)
        into.wall_s.append(sample.wall_s)
        into.block.append(block)
        into.after.append(last)
        if sample.device_s is not None:
            into.device_s.append(sample.device_s)
        last = name
    return last


def _known_well_enough(samples: Mapping[str, _Samples], plan: Plan) -> bool:
    return all(median_error(s.wall_s) < plan.relative_error for s in samples.values())


def _carry_over(name: str, samples: _Samples) -> float | None:
    """Median after another arm over median after itself; None with fewer than 3 samples of either kind."""
    own, other = _split(name, samples)
    return median(other) / median(own) if min(len(own), len(other)) >= 3 else None


def _depends_on_order(name: str, samples: _Samples) -> bool:
    """Whether the carry-over exceeds `CARRY_OVER_LIMIT` and what the scatter of the samples explains."""
    own, other = _split(name, samples)
    if min(len(own), len(other)) < 6:
        return False
    shift = abs(median(other) / median(own) - 1)
    return shift > CARRY_OVER_LIMIT and shift > median_error(own) + median_error(other)


def _split(name: str, samples: _Samples) -> tuple[list[float], list[float]]:
    """Samples taken after the arm itself, and after another arm."""
    own = [s for s, after in zip(samples.wall_s, samples.after, strict=True) if after == name]
    other = [s for s, after in zip(samples.wall_s, samples.after, strict=True) if after not in (name, "")]
    return own, other

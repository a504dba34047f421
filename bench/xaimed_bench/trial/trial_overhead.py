"""What timing adds to the calls it times: the harness against a bare loop, measured by the harness itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from xaimed_bench.measure.clock import Clock
from xaimed_bench.measure.interleave import interleave
from xaimed_bench.measure.plan import Plan
from xaimed_reports.compare.ratio import block_medians, interval_of_median
from xaimed_reports.trial.trial_records import Overhead

CALLS_S = (20e-6, 50e-6, 200e-6, 1e-3, 10e-3)
PLAN = Plan(budget_s=6.0, min_blocks=40, max_blocks=400, relative_error=0.0, warm_up_s=0.5)
BARE_S = 0.01
"""A bare loop is at least so long that reading the clock twice is nothing beside it."""


def measure_overhead() -> list[Overhead]:
    """For calls of several lengths: the samples that the harness takes, against the same calls in a bare loop."""
    return [_of_calls(length_s) for length_s in CALLS_S]


def _of_calls(length_s: float) -> Overhead:
    call = _work(length_s)
    count = max(4, round(BARE_S / length_s))

    def bare() -> None:
        for _ in range(count):
            call()

    clock = Clock(torch.device("cpu"))
    arms: dict[str, Callable[[], None]] = {"timed": call, "bare": bare}
    first_s = {name: clock.first(arm)[1] for name, arm in arms.items()}
    timings = interleave(arms, first_s, plan=PLAN, clock=clock).timings
    timed, loops = (block_medians(timings[name]) for name in ("timed", "bare"))
    shares = [timed[block] / (loops[block] / count) - 1 for block in sorted(timed.keys() & loops.keys())]
    low, high, _ = interval_of_median(shares)
    return Overhead(median(loops.values()) / count, median(shares), low, high)


def _work(length_s: float) -> Callable[[], None]:
    """A call of about this length: element-wise steps on a small tensor, whose number is set here and now."""
    values = torch.zeros(256)

    def steps(count: int) -> None:
        for _ in range(count):
            values.add_(1.0)

    steps(1000)
    began = time.perf_counter()
    steps(20_000)
    each_s = (time.perf_counter() - began) / 20_000
    count = max(1, round(length_s / each_s))
    return lambda: steps(count)

"""Interleaved timing: fair turns, raw samples, and carry-over that is noticed."""

from dataclasses import replace

import numpy as np
import pytest

from xaimed_bench.measure import Plan
from xaimed_bench.measure.interleave import MOST_REPEATS, interleave
from xaimed_bench.measure.plan import OutOfTimeError, median_error


def arms(clock, **seconds):
    """Arms that take given seconds; a callable gets the name of the arm that ran before."""
    log = clock.calls

    def arm(name, takes):
        def call():
            clock.now += takes(log[-1] if log else "") if callable(takes) else takes
            log.append(name)

        return call

    return {name: arm(name, takes) for name, takes in seconds.items()}


PLAN = Plan(budget_s=100.0, min_blocks=4, max_blocks=6, relative_error=0.0, warm_up_s=0.5)


def test_arms_take_turns_in_opposite_orders(fake_clock):
    found = interleave(arms(fake_clock, a=1.0, b=1.1), {"a": 1.0, "b": 1.1}, plan=PLAN, clock=fake_clock)
    timed = fake_clock.calls[2:]  # one warm-up call each
    assert timed[:8] == ["a", "a", "b", "b", "b", "b", "a", "a"]
    assert found.timings["a"].block[:6] == (0, 0, 1, 1, 2, 2)
    assert found.timings["a"].after[1:6] == ("a", "b", "a", "a", "a")


def test_samples_are_kept_raw_and_in_order(fake_clock):
    series = iter([5.0, 1.0, 1.2, 0.9, 9.0, 1.1, 1.0, 1.3, 1.0])
    only = {"a": lambda: setattr(fake_clock, "now", fake_clock.now + next(series))}
    short = replace(PLAN, warm_up_s=0.0, max_blocks=8)
    found = interleave(only, {"a": 5.0}, plan=short, clock=fake_clock)
    assert found.timings["a"].wall_s == pytest.approx((1.0, 1.2, 0.9, 9.0, 1.1, 1.0, 1.3, 1.0))
    assert found.timings["a"].first_s == 5.0


def test_warming_up_goes_on_while_calls_get_faster(fake_clock):
    series = iter([4.0, 2.0, 1.0, 1.0] + [1.0] * 20)
    only = {"a": lambda: setattr(fake_clock, "now", fake_clock.now + next(series))}
    found = interleave(only, {"a": 60.0}, plan=replace(PLAN, warm_up_s=100.0), clock=fake_clock)
    assert found.timings["a"].warm_up_s == 8.0
    assert set(found.timings["a"].wall_s) == {1.0}


def test_a_fast_arm_repeats_within_its_visit(fake_clock):
    found = interleave(arms(fake_clock, a=0.01, b=5.0), {"a": 0.01, "b": 5.0}, plan=PLAN, clock=fake_clock)
    assert len(found.timings["a"].wall_s) == MOST_REPEATS * 6
    assert len(found.timings["b"].wall_s) == 6


def test_measuring_stops_when_the_budget_is_spent_but_not_before_the_least_blocks(fake_clock):
    spent = replace(PLAN, budget_s=0.0, max_blocks=50)
    found = interleave(arms(fake_clock, a=1.0, b=1.0), {"a": 1.0, "b": 1.0}, plan=spent, clock=fake_clock)
    assert max(found.timings["a"].block) == PLAN.min_blocks - 1
    longer = replace(PLAN, budget_s=40.5, max_blocks=50)
    found = interleave(arms(fake_clock, a=1.0, b=1.0), {"a": 1.0, "b": 1.0}, plan=longer, clock=fake_clock)
    assert max(found.timings["a"].block) == 9


def fits_until(clock, until_s, **more):
    """Blocks and most calls in one, of arms that take 3 seconds a round, on a run whose time ends."""
    clock.now = 0.0
    plan = replace(PLAN, until_s=until_s, **more)
    found = interleave(arms(clock, a=1.0, b=2.0), {"a": 1.0, "b": 2.0}, plan=plan, clock=clock)
    blocks = found.timings["a"].blocks
    return len(blocks), max(map(len, blocks.values()))


@pytest.mark.parametrize(
    ("rounds", "blocks", "calls"),
    # one round warms up, one is for the memory
    [(3, 1, 1), (4, 2, 1), (5, 3, 1), (6, 4, 1), (9, 6, 1), (10, 4, 2), (12, 5, 2), (99, 6, 2)],
)
def test_where_a_runs_time_ends_calls_are_single_then_blocks_are_fewer(rounds, blocks, calls, fake_clock):
    assert fits_until(fake_clock, 3.0 * rounds) == (blocks, calls)
    assert fake_clock.now + 3.0 <= 3.0 * rounds


def test_without_time_for_one_block_nothing_is_measured_unless_it_must_be(fake_clock):
    for until_s in (2.9, 8.9):  # before the warm-up, and after it
        with pytest.raises(OutOfTimeError):
            fits_until(fake_clock, until_s)
        assert fits_until(fake_clock, until_s, in_any_case=True) == (1, 1)


SURE = replace(PLAN, relative_error=0.01, max_blocks=500, budget_s=1e4)


def test_measuring_stops_when_medians_and_quotients_are_known(fake_clock):
    found = interleave(arms(fake_clock, a=1.0, b=2.0), {"a": 1.0, "b": 2.0}, plan=SURE, clock=fake_clock)
    assert max(found.timings["a"].block) == 5  # of fewer than 6 quotients no interval of 95 % is known


def test_known_medians_are_not_enough_while_the_quotients_scatter(fake_clock):
    calls = {"a": 0, "b": 0}

    def slow_in_every_third_block(name, turn):
        def seconds(last):
            calls[name] += 1
            return 1.1 if calls[name] // 3 % 3 == turn else 1.0

        return seconds

    scattered = arms(fake_clock, a=slow_in_every_third_block("a", 0), b=slow_in_every_third_block("b", 1))
    found = interleave(scattered, {"a": 1.0, "b": 1.0}, plan=replace(SURE, max_blocks=90), clock=fake_clock)
    assert median_error(found.timings["a"].wall_s) < SURE.relative_error
    assert max(found.timings["a"].block) > 20


def test_a_visit_has_three_calls_unless_they_are_dear_so_that_one_interrupted_call_moves_nothing(fake_clock):
    cheap = interleave(arms(fake_clock, a=0.1, b=0.1), {"a": 0.1, "b": 0.1}, plan=PLAN, clock=fake_clock)
    dear = interleave(arms(fake_clock, a=1.0, b=1.0), {"a": 1.0, "b": 1.0}, plan=PLAN, clock=fake_clock)
    assert len(cheap.timings["a"].wall_s) == 3 * PLAN.max_blocks
    assert len(dear.timings["a"].wall_s) == 2 * PLAN.max_blocks


def test_an_arm_too_slow_to_call_twice_is_called_once_a_visit(fake_clock):
    found = interleave(arms(fake_clock, a=5.0, b=60.0), {"a": 5.0, "b": 60.0}, plan=PLAN, clock=fake_clock)
    assert len(found.timings["b"].wall_s) == PLAN.min_blocks
    assert len(found.timings["a"].wall_s) == 3 * PLAN.min_blocks
    assert found.carry_over["b"] is None


def test_carry_over_is_recorded(fake_clock):
    slower_after_b = arms(fake_clock, a=lambda last: 1.02 if last == "b" else 1.0, b=1.0)
    found = interleave(
        slower_after_b, {"a": 1.0, "b": 1.0}, plan=replace(PLAN, max_blocks=30), clock=fake_clock
    )
    assert found.carry_over["a"] == pytest.approx(1.02)
    assert found.timings["a"].order == "interleaved"


def test_beyond_the_noise_only_calls_after_the_arm_itself_count_and_it_says_so(fake_clock):
    slower_after_b = arms(fake_clock, a=lambda last: 1.5 if last == "b" else 1.0, b=1.0)
    found = interleave(slower_after_b, {"a": 1.0, "b": 1.0}, plan=PLAN, clock=fake_clock)
    timing = found.timings["a"]
    assert found.carry_over["a"] == pytest.approx(1.5)
    assert timing.order == "separated"
    assert [wall_s for _, wall_s in timing.counted] == pytest.approx([1.0] * len(timing.counted))
    assert max(timing.wall_s) == pytest.approx(1.5)  # kept all the same
    assert found.timings["b"].order == "interleaved"


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_not_taken_for_carry_over(fake_clock, seed):
    chance = np.random.default_rng(seed)
    noisy = arms(fake_clock, a=lambda last: 1.0 + 0.2 * chance.random(), b=1.0)
    found = interleave(noisy, {"a": 1.0, "b": 1.0}, plan=replace(PLAN, max_blocks=30), clock=fake_clock)
    assert found.timings["a"].order == "interleaved"


def test_the_error_of_a_median_shrinks_with_samples_and_is_unknown_for_few():
    few, many = [1.0, 1.1, 0.9] * 3, [1.0, 1.1, 0.9] * 300
    assert median_error([1.0] * 5) == float("inf")
    assert median_error(many) < median_error(few) < 0.2

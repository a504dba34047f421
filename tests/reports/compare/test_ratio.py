"""Ratios within a run: intervals that cover what they claim, blocks as the unit."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from xaimed_bench.measure.plan import median_error
from xaimed_reports.compare.ratio import block_ratios, interval_of_median, ratio


def test_the_ratio_is_the_median_of_the_blocks_ratios(make_timing):
    found = ratio(make_timing(2.0, 4.0, 9.0, 2.0), make_timing(1.0, 2.0, 3.0, 2.0))
    assert found.value == 2.0
    assert (found.low, found.high) == (1.0, 3.0)


def test_what_slows_a_whole_block_cancels(make_timing):
    slow = np.array([1, 10, 1, 1, 7, 1, 1, 1.0])
    found = ratio(make_timing(*(0.3 * slow)), make_timing(*(0.1 * slow)))
    assert found.low == pytest.approx(3.0)
    assert found.high == pytest.approx(3.0)


def test_repeated_calls_of_a_block_count_once(make_timing):
    many = make_timing(1.0, 1.1, 5.0, 2.0, 2.2, 9.0, per_block=3)
    assert block_ratios(many, make_timing(1.0, 1.0)) == [1.1, 2.2]


@pytest.mark.parametrize(("blocks", "confidence"), [(3, 0.75), (4, 0.875), (6, 0.96875), (20, 0.9586)])
def test_the_confidence_is_that_of_the_order_statistics(blocks, confidence, make_timing):
    found = ratio(make_timing(*[2.0] * blocks), make_timing(*[1.0] * blocks))
    assert found.confidence == pytest.approx(confidence, abs=1e-3)


@pytest.mark.parametrize("count", [*range(6, 40), 120, 1200])
def test_an_interval_of_a_median_is_the_narrowest_that_holds_it_in_95_of_100(count):
    values = np.arange(1.0, count + 1)
    low, high, confidence = interval_of_median(values)
    below = stats.binom(count, 0.5).cdf
    assert confidence == pytest.approx(1 - 2 * below(low - 1))
    assert confidence >= 0.95 > 1 - 2 * below(low)
    assert median_error(values) == (high - low) / 2 / np.median(values)


def test_the_interval_holds_the_true_ratio_as_often_as_it_claims(make_timing):
    chance = np.random.default_rng(0)
    hits, claimed = 0, 0.0
    for _ in range(400):
        noise = np.exp(0.1 * chance.standard_t(2, size=(2, 15)))  # heavy tails, as timings have
        found = ratio(make_timing(*(3.0 * noise[0])), make_timing(*noise[1]))
        hits += found.low <= 3.0 <= found.high
        claimed = found.confidence
    assert claimed >= 0.95
    assert hits / 400 >= claimed - 0.03


def test_timings_of_different_runs_have_no_ratio(make_timing):
    with pytest.raises(ValueError, match="share no block"):
        ratio(make_timing(1.0), replace(make_timing(1.0), block=(5,)))


def test_in_separated_order_only_samples_after_the_arm_itself_count(make_timing):
    timing = replace(
        make_timing(9.0, 2.0, 2.2, 9.0, 4.0, per_block=3),
        after=("b", "a", "a", "b", "a"),
        arm="a",
        order="separated",
    )
    assert timing.counted == ((0, 2.0), (0, 2.2), (1, 4.0))
    assert timing.typical_s == 2.2
    assert block_ratios(timing, make_timing(1.0, 1.0)) == [2.1, 4.0]
    with pytest.raises(ValueError, match="none counts"):
        replace(timing, after=("b",) * 5)

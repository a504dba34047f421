"""A trial of the gate: what it counts, on runs whose noise and slow-downs are known."""

import dataclasses

import numpy as np
import pytest

from xaimed_reports.jsonform import from_json, to_json
from xaimed_reports.records import Conditions
from xaimed_reports.trial import Overhead, Trial, is_disturbed, judge_trial
from xaimed_reports.trial_plan import FLOOR_RUNS, LEVELS, Planned, planned
from xaimed_reports.trial_text import overhead_markdown, trial_markdown

METHODS = ("gradcam", "xgradcam", "layercam")
OVERHEAD = [Overhead(20e-6, 0.05, 0.04, 0.06), Overhead(1e-3, 0.001, 0.0, 0.002)]


@pytest.fixture
def make_trial(make_run, make_row):
    def make_trial(*, noise, falsely=1.0, alike=30, slowed=24):
        """Runs of this noise; ``falsely``: the factor by which every second judged run alike is slower."""
        chance = np.random.default_rng(0)
        keys = [make_row(method=m).case.key for m in METHODS]
        busy = Conditions(2.0, 0.0, 0.5, 3, 2)
        runs = {}
        for p in planned(alike, slowed, 6):
            factor = falsely if p.kind == "alike" and p.index >= FLOOR_RUNS and p.index % 2 else 1.0
            rows = []
            for method, key in zip(METHODS, keys, strict=True):
                centre = (
                    factor * (1 + p.extra_work(keys).get(key, 0.0)) * np.exp(noise * chance.standard_normal())
                )
                samples = 0.1 * centre * np.exp(0.01 * chance.standard_normal(20))
                state = {"conditions": busy} if p.kind == "loaded" else {}
                rows.append(make_row(wall_s=samples, method=method, **state))
            runs[p] = make_run(*rows)
        return judge_trial(runs, OVERHEAD, disturbed=2)

    return make_trial


def test_the_floors_runs_come_first_and_the_kinds_are_mixed_after():
    plan = planned(30, 24, 6)
    assert len(plan) == len(set(plan)) == 60
    assert [p.kind for p in plan[:FLOOR_RUNS]] == ["alike"] * FLOOR_RUNS
    assert {p.kind for p in plan[10:20]} == {"alike", "slowed", "loaded"}


def test_every_row_gets_every_level_of_extra_work_equally_often():
    keys = [f"row {i}" for i in range(8)]
    for key in keys:
        given = [Planned("slowed", i).extra_work(keys)[key] for i in range(24)]
        assert {level: given.count(level) for level in LEVELS} == {0.05: 6, 0.10: 12, 0.20: 6}
    assert Planned("alike", 3).extra_work(keys) == {}


def test_on_a_precise_machine_nothing_is_falsely_found_and_a_tenth_is(make_trial):
    found = make_trial(noise=0.002)
    pairs, sides, _ = found.alike
    assert (pairs.comparisons, pairs.alarms.hits, pairs.unknown.hits) == (10, 0, 0)
    assert pairs.alarms.high == pytest.approx(0.3085, abs=1e-3)
    assert (sides.comparisons, sides.slower_or_faster.hits) == (1, 0)
    tenth = [p for p in found.power if p.extra_work == 0.10]
    assert [(p.found.hits, p.found.of) for p in tenth] == [(36, 36), (6, 6)]
    assert found.really_slower["0.10"] == pytest.approx(0.10, abs=0.01)


def test_false_alarms_are_counted_whatever_their_direction(make_trial):
    found = make_trial(noise=0.001, falsely=1.2)
    pairs = found.alike[0]
    assert (pairs.alarms.hits, pairs.alarms.of) == (10, 10)
    assert pairs.slower_or_faster.hits == 30


def test_load_makes_rows_unknown_and_never_slower(make_trial):
    found = make_trial(noise=0.002)
    assert all(v.alarms.hits == 0 and v.unknown.hits == v.unknown.of for v in found.loaded)
    assert all(v.exit_codes == {"3": v.comparisons} for v in found.loaded)


def test_a_noisy_machine_finds_less(make_trial):
    assert make_trial(noise=0.05).power[0].found.hits < make_trial(noise=0.002).power[0].found.hits


def test_a_trial_is_stored_and_read_in_full(make_trial):
    found = make_trial(noise=0.002, slowed=8)
    assert from_json(Trial, to_json(found)) == found
    text = trial_markdown(found)
    for said in (
        "0 of 10 (0.0% to 30.8%)",
        "30 alike, 8 slowed, 6 loaded",
        "2 more were set aside",
        "all rows",
    ):
        assert said in text


def test_the_harness_own_cost_names_the_shortest_call_it_is_small_for():
    assert "less than 2% from calls of 1 ms on" in overhead_markdown(OVERHEAD)
    assert "at no length tried" in overhead_markdown(OVERHEAD[:1])


def test_a_run_is_disturbed_when_others_used_the_machine_during_one_of_its_rows(make_run, make_row):
    busy = make_row(method="b", conditions=Conditions(2.0, 0.0, 0.5, 3, 2))
    assert is_disturbed(make_run(make_row(), busy))
    assert not is_disturbed(make_run(make_row(), dataclasses.replace(busy, impl="reference")))

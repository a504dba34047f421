"""A trial of the gate: what it counts, on runs whose noise and slow-downs are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from xaimed_reports.store.jsonform import from_json, to_json
from xaimed_reports.store.records import Conditions
from xaimed_reports.trial.judge import judge_trial
from xaimed_reports.trial.records import FLOOR_RUNS, LEVELS, Planned, Trial, planned
from xaimed_reports.trial.words import trial_counted, trial_markdown

ROOT = Path(__file__).parents[2]
STORED = sorted((ROOT / "reports/results").glob("*/gate-trial.md"))
METHODS = ("gradcam", "xgradcam")
KEY = "explaining a batch[gradcam-4]"


@pytest.fixture
def make_trial(make_run, make_row):
    def make_trial(*, noise, falsely=1.0, alike=30, slowed=12, disturb=False, disturb_all=False):
        """Runs of this noise; ``falsely``: the factor by which every second judged run alike is slower.

        ``disturb``: others used the machine during one row of one run; ``disturb_all``: during all but the floor's.
        """
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
                disturbed = disturb and p == Planned("alike", 14) and method == METHODS[0]
                disturbed |= disturb_all and p.index >= FLOOR_RUNS
                state = {"conditions": busy} if p.kind == "loaded" or disturbed else {}
                rows.append(make_row(wall_s=samples, method=method, **state))
            runs[p] = make_run(*rows)
        return judge_trial(runs)

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
    pairs, sides = found.alike
    assert (pairs.exit_codes, pairs.alarms, pairs.rows["same"], pairs.of) == ({"0": 10}, 0, 20, 20)
    assert (sides.exit_codes, sides.moved) == ({"0": 1}, 0)
    tenth = [tally for tally in found.power if tally.extra_work == 0.10]
    assert [(tally.rows["slower"], tally.of) for tally in tenth] == [(12, 12), (2, 2)]
    assert found.really_slower["0.10"] == pytest.approx(0.10, abs=0.01)


def test_false_alarms_are_counted_whatever_their_direction(make_trial):
    pairs = make_trial(noise=0.001, falsely=1.2).alike[0]
    assert (pairs.alarms, pairs.moved) == (10, 20)


def test_load_makes_rows_unknown_and_never_slower(make_trial):
    found = make_trial(noise=0.002)
    assert all(tally.alarms == 0 and tally.rows["not judged"] == tally.of == 12 for tally in found.loaded)
    assert all(tally.exit_codes == {"3": 6} for tally in found.loaded)


def test_a_trial_whose_every_judged_run_was_disturbed_claims_nothing(make_trial):
    found = make_trial(noise=0.002, disturb_all=True)
    judged, said = trial_counted(found)
    assert (judged, said) == (0, "judged 0 of 20 rows of equal code")
    assert "| two stored runs | equal | 0 | 0 | 0 | 0 | 20 | 3: 10 |" in trial_markdown(found)
    assert trial_counted(make_trial(noise=0.002)) == (
        20,
        "judged 20 of 20 rows of equal code: 0 slower or faster, 20 same",
    )


def test_a_noisy_machine_finds_less(make_trial):
    assert make_trial(noise=0.05).power[0].rows["slower"] < make_trial(noise=0.002).power[0].rows["slower"]


def test_a_trial_is_stored_and_read_in_full(make_trial):
    found = make_trial(noise=0.002, slowed=8)
    assert from_json(Trial, to_json(found)) == found
    text = trial_markdown(found)
    assert "30 alike, 8 slowed, 6 loaded" in text
    assert "| two stored runs | equal | 0 | 0 | 20 | 0 | 0 | 0: 10 |" in text
    really = f"{found.really_slower['0.10']:.1%}"
    assert f"| two stored runs | 10% slower (really {really}) | 8 of 8 (63.1% to 100.0%) |" in text


def test_rows_during_which_others_used_the_machine_are_not_judged(make_trial):
    found = make_trial(noise=0.002, disturb=True)
    pairs = found.alike[0]
    assert (pairs.rows["not judged"], pairs.rows["unknown"], pairs.of) == (1, 0, 20)
    assert [run.disturbed for run in found.runs if run.disturbed and run.name.startswith("alike")] == [(KEY,)]


@pytest.mark.parametrize("page", STORED, ids=lambda path: path.parent.name)
def test_a_committed_page_shows_what_its_trial_found(page):
    stored = json.loads(page.with_suffix(".json").read_text())["trial"]
    assert page.read_text().strip() == trial_markdown(from_json(Trial, stored)).strip()

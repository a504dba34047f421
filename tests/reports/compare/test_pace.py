"""The machine's pace: what of a change of it shows in ours is learnt from runs of one code, and taken out."""

import dataclasses
import re

import numpy as np
import pytest
from msgspec import structs

from xaimed_reports.compare.compare import compare
from xaimed_reports.compare.disturbance import disturbance
from xaimed_reports.compare.floor import Floor, floor_of
from xaimed_reports.compare.pace import FEWEST_RUNS, Pace, forward_of, pace_of, unsteadiness, values_at
from xaimed_reports.store.jsonform import UnreadableError, from_json, to_json

OVERHEAD_S = 0.02


@pytest.fixture
def run_at(make_run, make_row, make_timing):
    """A run in which the forward takes ``forward_s`` and ours that and a constant more, both with a little noise."""

    def run_at(forward_s, *, seed=0, slower=1.0, noise=0.001, constant_s=OVERHEAD_S):
        chance = np.random.default_rng(seed)

        def samples(centre_s):
            off = noise * chance.standard_normal()
            return centre_s * np.exp(off + noise * chance.standard_normal(12))

        ours_s = slower * (forward_s + constant_s)
        return make_run(make_row(wall_s=samples(ours_s), forward=make_timing(*samples(forward_s))))

    return run_at


@pytest.fixture
def unsteady(run_at):
    """Ten runs of the same code on a machine whose forward takes between 0.10 and 0.12 s."""
    paces = np.random.default_rng(1).uniform(0.10, 0.12, 10)
    return [run_at(forward_s, seed=i) for i, forward_s in enumerate(paces)]


def rows(runs):
    return [run.rows[0] for run in runs]


def test_a_constant_beside_the_forward_is_found_in_how_ours_follows_it(unsteady):
    pace = pace_of(rows(unsteady))
    assert pace.follows == pytest.approx(0.11 / (0.11 + OVERHEAD_S), abs=0.005)
    assert 0.10 < pace.forward_s < 0.12


def test_at_the_usual_pace_runs_of_one_code_agree(unsteady):
    pace = pace_of(rows(unsteady))
    plain, adjusted = ([np.median(values_at(row, each)) for row in rows(unsteady)] for each in (None, pace))
    assert np.std(np.log(plain)) > 4 * np.std(np.log(adjusted))
    assert np.mean(adjusted) == pytest.approx(1 + OVERHEAD_S / 0.11, abs=0.01)  # plain forward passes still


@pytest.mark.parametrize("seed", range(5))
def test_a_pace_that_hardly_moved_teaches_nothing(seed, run_at):
    steady = [run_at(0.1, seed=[seed, i], noise=0.01) for i in range(10)]
    assert pace_of(rows(steady)).follows == 1.0


def test_too_few_runs_and_a_forward_that_never_changes_teach_nothing(unsteady, make_row):
    few = rows(unsteady)[: FEWEST_RUNS - 1]
    usual = np.exp(np.mean([np.log(forward_of(row)) for row in few]))
    assert pace_of(few) == Pace(pace_of(few).forward_s)
    assert pace_of(few).forward_s == pytest.approx(usual)
    assert pace_of([make_row()] * 8).follows == 1.0


@pytest.mark.parametrize("of_the_forward", [0.1, 0.5, 9.0])
def test_what_is_made_of_forwards_follows_the_pace_wholly(of_the_forward, run_at):
    for seed in range(20):
        paces = np.random.default_rng(seed).uniform(0.10, 0.12, 10)
        runs = [
            run_at(p, seed=[seed, i], constant_s=0.0, slower=1 + of_the_forward) for i, p in enumerate(paces)
        ]
        assert pace_of(rows(runs)).follows == 1.0


def test_ours_shorter_than_a_forward_adds_nothing_to_it(run_at):
    runs = [run_at(p, seed=i, constant_s=-0.05) for i, p in enumerate(np.linspace(0.10, 0.12, 10))]
    assert pace_of(rows(runs)).follows == 1.0


def test_without_a_forward_pass_there_is_no_pace_and_seconds_are_judged(make_row):
    alone = make_row(forward=None)
    assert pace_of([alone] * 8) is None
    assert values_at(alone, None) == list(alone.timing.wall_s)


@pytest.mark.parametrize(("slower", "verdict"), [(1.0, "same"), (1.06, "slower"), (0.94, "faster")])
def test_two_runs_at_different_paces_are_told_apart_by_their_code_alone(slower, verdict, unsteady, run_at):
    base, new = run_at(0.102, seed=20), run_at(0.118, seed=21, slower=slower)
    judged = compare([base], [new], floor=floor_of(unsteady)).judgements[0]
    assert judged.verdict == verdict
    assert "forward 1.15" in judged.shown


def test_limits_at_a_learnt_pace_hold_19_of_20_comparisons(run_at):
    inside = 0
    for seed in range(100):
        chance = np.random.default_rng([7, seed])
        paces = chance.uniform(0.10, 0.12, 12)
        runs = [run_at(p, seed=[seed, i], noise=0.01) for i, p in enumerate(paces)]
        floor = floor_of(runs[:10])
        (key,) = floor.spread
        a, b = (np.log(np.median(values_at(run.rows[0], floor.pace[key]))) for run in runs[10:])
        inside += abs(a - b) < np.log1p(floor.differ(key))
    assert 90 <= inside <= 100


def test_a_floor_of_another_machine_is_not_used(unsteady, run_at):
    floor = floor_of(unsteady)
    base = run_at(0.11)
    elsewhere = dataclasses.replace(base, machine=dataclasses.replace(base.machine, cpu="another"))
    assert compare([base], [base], floor=floor).judgements[0].verdict == "same"
    judged = compare([elsewhere], [base], floor=floor).judgements[0]
    assert judged.verdict == "unknown"
    assert "assumed" in judged.why


@pytest.mark.parametrize("damaged", [{"forward_s": 0.0}, {"forward_s": -0.1}, {"follows": 0.0}])
def test_a_pace_that_no_machine_has_is_unreadable(damaged, unsteady):
    stored = to_json(floor_of(unsteady))
    (pace,) = stored["pace"].values()
    pace.update(damaged)
    with pytest.raises(UnreadableError, match="no machine has the pace"):
        from_json(Floor, stored, "floor.json")


def test_a_floor_is_stored_with_its_pace_and_older_ones_have_none(unsteady):
    floor = floor_of(unsteady)
    assert from_json(type(floor), to_json(floor)) == floor
    older = {name: value for name, value in to_json(floor).items() if name != "pace"}
    assert from_json(type(floor), older).pace == {}


def test_a_forward_slower_than_the_floor_knows_leaves_the_row_unjudged_and_says_so(unsteady, run_at):
    floor = floor_of(unsteady)
    (pace,) = floor.pace.values()
    assert 0.12 < pace.slowest_s < 0.14
    for base, new in ((0.11, 0.2), (0.2, 0.11)):
        found = compare([run_at(base)], [run_at(new, slower=1.5)], floor=floor)
        assert found.judgements[0].verdict == "unknown"
        assert re.search(r"a plain forward pass took 20\d ms, usually 1\d\d ms", found.judgements[0].why)
        assert found.exit_code == 3


def test_a_forward_a_little_slower_on_a_steady_machine_is_judged(run_at):
    steady = floor_of([run_at(0.1, seed=i) for i in range(10)])
    (pace,) = steady.pace.values()
    assert pace.slowest_s == pytest.approx(0.11, rel=0.01)
    assert compare([run_at(0.1)], [run_at(0.105, slower=1.2)], floor=steady).judgements[0].verdict == "slower"


def test_slowed_processes_are_left_out_of_a_side_while_most_are_not(unsteady, run_at):
    floor = floor_of(unsteady)
    base = [run_at(0.11, seed=i) for i in range(6)]
    new = [run_at(0.11 if i < 4 else 0.2, seed=10 + i, slower=1.0 if i < 4 else 2.0) for i in range(6)]
    assert compare(base, new, floor=floor).judgements[0].verdict == "same"


def test_a_call_that_something_interrupted_does_not_move_a_run(make_row, make_timing):
    quiet = np.tile([0.100, 0.101, 0.102], 10)
    interrupted = np.tile([0.150, 0.100, 0.300], 10)
    row, disturbed = (
        make_row(timing=make_timing(*wall_s, per_block=3), forward=make_timing(*quiet, per_block=3))
        for wall_s in (2 * quiet, 2 * interrupted)
    )
    assert values_at(disturbed, None) == pytest.approx(values_at(row, None))


def test_work_in_every_call_is_seen_whatever_call_of_a_block_is_the_shortest(unsteady, run_at):
    found = [np.median(values_at(run_at(0.11, slower=slower).rows[0], None)) for slower in (1.0, 1.1)]
    assert found[1] / found[0] == pytest.approx(1.1)


def unsteady_row(make_row, make_timing, differ, *, ours=(0.2,) * 12):
    """A row whose forward's blocks lie alternately higher and lower by ``differ``."""
    return make_row(wall_s=ours, forward=make_timing(*(0.1 * (1 + differ * (i % 2)) for i in range(12))))


@pytest.mark.parametrize(("differ", "doubted"), [(0.0, False), (0.015, False), (0.03, True)])
def test_a_row_measured_while_neighbouring_forwards_differ_is_not_judged(
    differ, doubted, make_row, make_run, make_timing
):
    row = unsteady_row(make_row, make_timing, differ)
    assert unsteadiness(row) == pytest.approx(differ, rel=0.02)
    found = compare([make_run(row)], [make_run(row)])
    assert found.doubted == ((row.case.key,) if doubted else ())
    if doubted:
        assert "forward passes a moment apart differed by 3.0%" in found.judgements[0].why
        assert found.exit_code == 3


def test_a_step_to_another_pace_and_a_change_of_ours_are_not_unsteady(make_row, make_timing):
    stepped = make_row(forward=make_timing(*(0.1,) * 6, *(0.15,) * 6), wall_s=(0.2,) * 12)
    assert disturbance(stepped) is None
    scattered = unsteady_row(make_row, make_timing, 0.0, ours=tuple(np.linspace(0.2, 0.4, 12)))
    assert disturbance(scattered) is None
    assert unsteadiness(make_row(forward=None)) == 0.0


def test_unsteady_rows_are_no_part_of_a_floor(make_row, make_run, make_timing, run_at):
    shaken = structs.replace(unsteady_row(make_row, make_timing, 0.1), case=run_at(0.1).rows[0].case)
    floor = floor_of([run_at(0.1, seed=i) for i in range(8)] + [make_run(shaken)] * 4)
    assert set(floor.runs.values()) == {8}

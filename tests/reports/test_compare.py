"""Comparing: a verdict says what the numbers support, and nothing passes by vanishing."""

import dataclasses
import json

import numpy as np
import pytest

from xaimed_bench.cli import main
from xaimed_reports.compare.compare import compare
from xaimed_reports.compare.floor import floor_of, load_floor, smallest_visible_effect, store_floor
from xaimed_reports.compare.statistics import Noise, changes, clopper_pearson, holm
from xaimed_reports.store.records import Conditions, Memory


def processes(make_run, make_row, factor=1.0, *, count=6, seed=0, noise=0.01, **fields):
    chance = np.random.default_rng(seed)
    samples = [0.1 * factor * np.exp(noise * chance.standard_normal()) for _ in range(count)]
    return [make_run(make_row(wall_s=(s, s, s, s), **fields)) for s in samples]


def verdicts(found):
    return {(j.key.partition("[")[2], j.what): j.verdict for j in found.judgements}


@pytest.mark.parametrize(
    ("factor", "verdict", "code"),
    [(1.0, "same", 0), (1.15, "slower", 1), (0.8, "faster", 0), (1.01, "same", 0)],
)
def test_processes_are_judged_by_their_medians(factor, verdict, code, make_run, make_row):
    base = processes(make_run, make_row, seed=1, noise=0.005)
    found = compare(base, processes(make_run, make_row, factor, seed=2, noise=0.005))
    assert verdicts(found) == {("xgradcam-4]", "time"): verdict}
    assert found.exit_code == code
    assert found.units == "processes"


def test_a_change_near_the_threshold_is_unknown(make_run, make_row):
    found = compare(processes(make_run, make_row, seed=1), processes(make_run, make_row, 1.035, seed=2))
    assert verdicts(found) == {("xgradcam-4]", "time"): "unknown"}
    assert found.exit_code == 3


def test_a_new_side_too_noisy_to_judge_fails(make_run, make_row):
    found = compare(
        processes(make_run, make_row, seed=1, noise=0.002), processes(make_run, make_row, seed=2, noise=0.2)
    )
    assert found.became_unknown
    assert found.exit_code == 1


def test_a_loaded_machine_is_inconclusive_and_never_slower(make_run, make_row):
    busy = Conditions(2.0, 0.0, 0.5, 3, 2)
    base = processes(make_run, make_row, seed=1, conditions=busy)
    found = compare(base, processes(make_run, make_row, 2.0, seed=2, conditions=busy))
    assert verdicts(found) == {("xgradcam-4]", "time"): "unknown"}
    assert found.exit_code == 3


@pytest.mark.parametrize(("disturbed", "verdict", "code"), [(2, "same", 0), (3, "unknown", 3)])
def test_disturbed_processes_are_left_out_while_most_are_not(disturbed, verdict, code, make_run, make_row):
    busy = Conditions(2.0, 0.0, 0.5, 3, 2)
    base = processes(make_run, make_row, seed=1, noise=0.002)
    new = processes(make_run, make_row, seed=2, noise=0.002, count=6 - disturbed)
    new += processes(make_run, make_row, 3.0, seed=3, count=disturbed, conditions=busy)
    for found in (compare(base, new), compare(new, base)):
        assert verdicts(found) == {("xgradcam-4]", "time"): verdict}
        assert found.exit_code == code


def test_a_throttled_gpu_is_inconclusive_and_named(make_run, make_row):
    held = Conditions(
        0.1, 0.0, 0.01, 3, 2, gpu={"throttled_by before": "", "throttled_by after": "power cap"}
    )
    base = processes(make_run, make_row, seed=1)
    found = compare(base, processes(make_run, make_row, 2.0, seed=2, conditions=held))
    assert verdicts(found) == {("xgradcam-4]", "time"): "unknown"}
    assert found.judgements[0].why == "the GPU was throttled (power cap)"
    assert found.exit_code == 3


def test_an_unknown_that_more_knowledge_would_decide_says_what_to_do(make_run, make_row):
    equal = make_run(make_row(wall_s=(0.1,) * 8))
    found = compare([equal], [equal]).judgements[0]
    assert "too noisy: the interval 0.909 to 1.100 allows more than one answer" in found.why
    assert "xaimed compare --floor measures this machine's" in found.why


def test_false_alarms_are_rarer_than_one_in_twenty_comparisons(make_run, make_row):
    alarms = 0
    for seed in range(60):
        base = processes(make_run, make_row, seed=2 * seed, noise=0.02)
        found = compare(base, processes(make_run, make_row, seed=2 * seed + 1, noise=0.02))
        alarms += found.exit_code == 1
    assert alarms <= 3


def test_a_slow_down_of_a_tenth_is_found_in_19_of_20_comparisons(make_run, make_row):
    hits = 0
    for seed in range(60):
        base = processes(make_run, make_row, seed=2 * seed, noise=0.015)
        hits += (
            compare(base, processes(make_run, make_row, 1.1, seed=2 * seed + 1, noise=0.015)).exit_code == 1
        )
    assert hits >= 57


@pytest.mark.parametrize("status", ["wrong", "failed", "oom"])
def test_a_row_that_broke_fails(status, make_run, make_row):
    found = compare([make_run(make_row())], [make_run(make_row(status=status))])
    assert list(verdicts(found).values()) == [status]
    assert found.exit_code == 1


@pytest.mark.parametrize("now", [(), ("skipped",), ("degenerate",)])
def test_a_row_that_vanished_fails(now, make_run, make_row):
    found = compare([make_run(make_row())], [make_run(*(make_row(status=s) for s in now))])
    assert list(verdicts(found).values()) == ["gone"]
    assert found.exit_code == 1


def test_a_new_row_and_a_row_that_was_skipped_all_along_pass(make_run, make_row):
    skipped = make_row(method="a", status="skipped")
    base = processes(make_run, make_row, seed=1, noise=0.002)
    now = processes(make_run, make_row, seed=2, noise=0.002)
    base = [dataclasses.replace(run, rows=(*run.rows, skipped)) for run in base]
    now = [dataclasses.replace(run, rows=(*run.rows, skipped, make_row(method="b"))) for run in now]
    found = compare(base, now)
    assert sorted(verdicts(found).values()) == ["new", "same", "skipped"]
    assert found.exit_code == 0


@pytest.mark.parametrize("status", ["skipped", "degenerate", "new", "incomparable"])
def test_where_no_row_was_judged_nothing_passes(status, make_run, make_row):
    row = make_row() if status in ("new", "incomparable") else make_row(status=status)
    base = make_run() if status == "new" else make_run(row)
    machine = dataclasses.replace(base.machine, versions={"torch": "0.0"})
    now = make_run(row, machine=machine if status == "incomparable" else base.machine)
    found = compare([base], [now])
    assert list(verdicts(found).values()) == [status]
    assert found.exit_code == 3
    assert not found.judged


def test_a_comparison_that_could_not_fail_is_refused(make_run, make_row):
    with pytest.raises(ValueError, match="nothing could ever fail"):
        compare([make_run(make_row())], [make_run(make_row())], fail_on=frozenset())


def test_rows_measured_again_leave_the_other_findings_as_they_were(make_run, make_row):
    """A confirmed row that turns out to be the same must not take a vanished row's finding with it."""
    gone = make_row(method="layercam")
    base = processes(make_run, make_row, seed=1, noise=0.002)
    first = compare(
        [dataclasses.replace(run, rows=(*run.rows, gone)) for run in base],
        processes(make_run, make_row, 1.2, seed=2, noise=0.002),
    )
    again = compare(base, processes(make_run, make_row, seed=3, noise=0.002))
    assert first.slower == ("explaining a batch[xgradcam-4]",)
    found = first.with_rows_of(again)
    assert sorted(verdicts(found).values()) == ["gone", "same"]
    assert (again.exit_code, found.exit_code) == (0, 1)


def test_more_memory_fails_beyond_what_it_varies(make_run, make_row):
    def host(mib):
        return [make_run(make_row(memory=Memory(mib * 2**20, "by hand")))]

    def cuda(mib):
        return [make_run(make_row(memory=Memory(mib * 2**20, "by hand", reserved_bytes=1)))]

    assert compare(host(100), host(130)).exit_code == 3  # the times of two single runs are unknown
    assert compare(host(100), host(140)).exit_code == 1
    assert compare(cuda(100), cuda(102)).exit_code == 1


@pytest.mark.parametrize("package", ["torch", "triton", "grad-cam"])
def test_another_release_makes_times_incomparable_but_fidelity_is_judged(package, make_run, make_row):
    base = make_run(make_row(), make_row(method="layercam"))
    machine = dataclasses.replace(base.machine, versions=base.machine.versions | {package: "0.0"})
    now = make_run(make_row(wall_s=(0.9,) * 6), make_row(method="layercam", status="wrong"), machine=machine)
    found = compare([base], [now])
    assert verdicts(found) == {("xgradcam-4]", "time"): "incomparable", ("layercam-4]", "fidelity"): "wrong"}


def test_a_changed_definition_breaks_the_line_of_history(make_run, make_row):
    found = compare([make_run(make_row())], [make_run(make_row(revision=2))])
    assert list(verdicts(found).values()) == ["incomparable"]
    assert "definition changed" in found.judgements[0].why


def test_ratios_to_the_reference_are_shown_but_never_judged(make_run, make_row):
    base = make_run(make_row(), make_row("reference", (0.33,) * 6))
    now = make_run(make_row(), make_row("reference", (0.11,) * 6))
    found = compare([base], [now])
    assert "reference / xaimed 3x then 1x" in found.judgements[0].shown
    assert found.exit_code == 3


def test_fail_on_chooses_what_fails(make_run, make_row):
    sides = [make_run(make_row())], [make_run()]
    assert compare(*sides).exit_code == 1
    assert compare(*sides, fail_on=frozenset({"slower"})).exit_code == 3


def test_two_single_runs_need_the_machines_floor_to_be_called_slower(make_run, make_row):
    base, new = make_run(make_row(wall_s=(0.1,) * 8)), make_run(make_row(wall_s=(0.106,) * 8))
    assert compare([base], [new]).judgements[0].verdict == "unknown"  # 10 % is assumed
    floor = floor_of([make_run(make_row(wall_s=(s,) * 4)) for s in (0.1, 0.1005, 0.0995, 0.1)])
    assert compare([base], [new], floor=floor).judgements[0].verdict == "slower"
    scattered = (0.11, 0.12, 0.1, 0.11, 0.13, 0.11)
    noisy = [make_run(make_row(wall_s=[f * s for s in scattered])) for f in (1.0, 1.06)]
    assert compare(noisy[:1], noisy[1:], floor=floor).judgements[0].verdict == "unknown"


@pytest.mark.parametrize(("noise", "verdict"), [(0.002, "same"), (0.02, "unknown")])
def test_two_single_runs_are_the_same_only_as_far_as_the_machine_can_tell(noise, verdict, make_run, make_row):
    equal = make_run(make_row(wall_s=(0.1,) * 8))
    assert compare([equal], [equal]).judgements[0].verdict == "unknown"
    floor = floor_of(processes(make_run, make_row, count=12, noise=noise))
    found = compare([equal], [equal], floor=floor).judgements[0]
    assert found.verdict == verdict
    (key,) = floor.spread
    assert found.change.high == pytest.approx(1 + floor.differ(key))


def test_a_floor_holds_19_of_20_comparisons_of_equal_code(make_run, make_row):
    hits = {1: 0, 6: 0}
    for seed in range(100):
        chance = np.random.default_rng(seed)
        floor = floor_of(processes(make_run, make_row, count=12, noise=0.03, seed=1000 + seed))
        (key,) = floor.spread
        for count in hits:
            a, b = (np.median(0.03 * chance.standard_normal(count)) for _ in range(2))
            hits[count] += abs(a - b) < np.log1p(floor.differ(key, processes=count))
    assert all(90 <= found <= 100 for found in hits.values())


def test_a_floor_is_wider_for_more_rows_and_narrower_for_more_processes(make_run, make_row, tmp_path):
    runs = processes(make_run, make_row, count=12, noise=0.03)
    floor = floor_of(runs)
    (key,) = floor.spread
    assert floor.differ(key, processes=6) < floor.differ(key) < floor.differ(key, among=8)
    assert smallest_visible_effect(floor, key, processes=6) > 0.03
    store_floor(floor, tmp_path / "floor.json", processes=6)
    visible = json.loads((tmp_path / "floor.json").read_text())["smallest_visible_effect"][key]
    assert 0.03 < visible["sides of 6"] < visible["two runs"]
    assert load_floor(tmp_path / "floor.json", runs[0].machine) == floor
    assert load_floor(tmp_path / "floor.json", dataclasses.replace(runs[0].machine, cpu="another")) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"floor": 3}', '{"floor": {"runs": 12}}', "[" * 99_999, "\0"]
)
def test_a_damaged_floor_gives_exit_2_and_one_line(text, make_run, make_row, store, tmp_path, capsys):
    stored, floor = tmp_path / "run.json", tmp_path / "floor.json"
    store(make_run(make_row()), stored)
    floor.write_text(text)
    assert main(["compare", str(stored), str(stored), "--floor-file", str(floor)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "floor.json" in said.err


def test_loaded_rows_are_no_part_of_a_floor(make_run, make_row):
    quiet = processes(make_run, make_row, count=6, noise=0.01)
    busy = processes(make_run, make_row, 1.5, count=3, conditions=Conditions(2.0, 0.0, 0.5, 3, 2))
    assert floor_of(quiet + busy) == floor_of(quiet)
    assert floor_of(quiet[:3] + busy).spread == {}


def test_too_few_runs_give_no_floor(make_run, make_row):
    with pytest.raises(ValueError, match="needs 4 runs"):
        floor_of(processes(make_run, make_row, count=3))


def test_holm_rejects_step_by_step():
    assert holm({"a": 0.01, "b": 0.02, "c": 0.30}) == {"a": True, "b": True, "c": False}
    assert holm({"a": 0.02, "b": 0.03, "c": 0.04}) == {"a": False, "b": False, "c": False}
    assert holm({}) == {}


def test_many_rows_raise_the_bar_for_each(make_row):
    chance = np.random.default_rng(0)
    noisy = {f"row {i}": list(np.exp(0.05 * chance.standard_normal(6))) for i in range(40)}
    again = {f"row {i}": list(np.exp(0.05 * chance.standard_normal(6))) for i in range(40)}
    assert not [
        k
        for k, c in changes(noisy, again, dict.fromkeys(noisy, Noise())).items()
        if c.decision in ("slower", "faster")
    ]


def test_the_exact_interval_of_a_proportion_is_clopper_and_pearsons():
    low, high = clopper_pearson(1, 10)
    assert low == pytest.approx(0.00253, abs=1e-5)
    assert high == pytest.approx(0.44502, abs=1e-5)


def test_arguments_that_make_no_sense_give_exit_2(capsys):
    senseless = ([], ["a"], ["a", "b", "c"], ["--base", "x", "a", "b"], ["--floor", "--runs", "2"])
    for words in senseless:
        assert main(["compare", *words]) == 2
        assert capsys.readouterr().err.startswith("xaimed compare: ")

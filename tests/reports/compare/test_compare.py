"""Comparing: a verdict says what the numbers support, and nothing passes by vanishing."""

import dataclasses

import numpy as np
import pytest

from tests.reports.conftest import processes
from xaimed_bench.cli import main
from xaimed_reports.compare.compare import compare
from xaimed_reports.compare.statistics import Noise, changes, clopper_pearson, holm
from xaimed_reports.store.records import Conditions, Memory


def verdicts(found):
    return {(j.key.partition("[")[2], j.what): j.verdict for j in found.judgements}


@pytest.mark.parametrize(
    ("factor", "verdict", "code"),
    [(1.0, "same", 0), (1.15, "slower", 1), (0.8, "faster", 0), (1.01, "same", 0)],
)
def test_processes_are_judged_by_their_medians(factor, verdict, code):
    base = processes(seed=1, noise=0.005)
    found = compare(base, processes(factor, seed=2, noise=0.005))
    assert verdicts(found) == {("xgradcam-4]", "time"): verdict}
    assert found.exit_code == code
    assert found.units == "processes"


def test_a_change_near_the_threshold_is_unknown():
    found = compare(processes(seed=1), processes(1.035, seed=2))
    assert verdicts(found) == {("xgradcam-4]", "time"): "unknown"}
    assert found.exit_code == 3


def test_a_new_side_too_noisy_to_judge_fails():
    found = compare(processes(seed=1, noise=0.002), processes(seed=2, noise=0.2))
    assert found.became_unknown
    assert found.exit_code == 1


def test_a_loaded_machine_is_inconclusive_and_never_slower():
    busy = Conditions(2.0, 0.0, 0.5, 3, 2)
    base = processes(seed=1, conditions=busy)
    found = compare(base, processes(2.0, seed=2, conditions=busy))
    assert verdicts(found) == {("xgradcam-4]", "time"): "unknown"}
    assert found.exit_code == 3


@pytest.mark.parametrize(("disturbed", "verdict", "code"), [(2, "same", 0), (3, "unknown", 3)])
def test_disturbed_processes_are_left_out_while_most_are_not(disturbed, verdict, code):
    busy = Conditions(2.0, 0.0, 0.5, 3, 2)
    base = processes(seed=1, noise=0.002)
    new = processes(seed=2, noise=0.002, count=6 - disturbed)
    new += processes(3.0, seed=3, count=disturbed, conditions=busy)
    for found in (compare(base, new), compare(new, base)):
        assert verdicts(found) == {("xgradcam-4]", "time"): verdict}
        assert found.exit_code == code


def test_a_throttled_gpu_is_inconclusive_and_named():
    held = Conditions(
        0.1, 0.0, 0.01, 3, 2, gpu={"throttled_by before": "", "throttled_by after": "power cap"}
    )
    base = processes(seed=1)
    found = compare(base, processes(2.0, seed=2, conditions=held))
    assert verdicts(found) == {("xgradcam-4]", "time"): "unknown"}
    assert found.judgements[0].why == "the GPU was throttled (power cap)"
    assert found.exit_code == 3


def test_an_unknown_that_more_knowledge_would_decide_says_what_to_do(make_run, make_row):
    equal = make_run(make_row(wall_s=(0.1,) * 8))
    found = compare([equal], [equal]).judgements[0]
    assert "too noisy: the interval 0.909 to 1.100 allows more than one answer" in found.why
    assert "xaimed compare --floor measures this machine's" in found.why


def test_false_alarms_are_rarer_than_one_in_twenty_comparisons():
    alarms = 0
    for seed in range(60):
        base = processes(seed=2 * seed, noise=0.02)
        found = compare(base, processes(seed=2 * seed + 1, noise=0.02))
        alarms += found.exit_code == 1
    assert alarms <= 3


def test_a_slow_down_of_a_tenth_is_found_in_19_of_20_comparisons():
    hits = 0
    for seed in range(60):
        base = processes(seed=2 * seed, noise=0.015)
        hits += compare(base, processes(1.1, seed=2 * seed + 1, noise=0.015)).exit_code == 1
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


def test_a_new_row_and_a_row_that_was_skipped_all_along_pass(make_row):
    skipped = make_row(method="a", status="skipped")
    base = processes(seed=1, noise=0.002)
    now = processes(seed=2, noise=0.002)
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


def test_rows_measured_again_leave_the_other_findings_as_they_were(make_row):
    """A confirmed row that turns out to be the same must not take a vanished row's finding with it."""
    gone = make_row(method="layercam")
    base = processes(seed=1, noise=0.002)
    first = compare(
        [dataclasses.replace(run, rows=(*run.rows, gone)) for run in base],
        processes(1.2, seed=2, noise=0.002),
    )
    again = compare(base, processes(seed=3, noise=0.002))
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


def test_holm_rejects_step_by_step():
    assert holm({"a": 0.01, "b": 0.02, "c": 0.30}) == {"a": True, "b": True, "c": False}
    assert holm({"a": 0.02, "b": 0.03, "c": 0.04}) == {"a": False, "b": False, "c": False}
    assert holm({}) == {}


def test_many_rows_raise_the_bar_for_each():
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

"""The runs of a trial: what is kept, made again or refused, extra work that is real, and the harness's own cost."""

import json
import subprocess
import sys
import time
from statistics import median

import pytest
import torch

from xaimed_bench.cli import main
from xaimed_bench.measure import trial, trial_overhead
from xaimed_bench.trial.trial import MOST_DISTURBED, TrialRuns
from xaimed_bench.trial.trial_work import with_extra_work
from xaimed_reports.store.jsonform import UnreadableError, from_json, to_json
from xaimed_reports.store.records import Case, Conditions, Row
from xaimed_reports.trial.trial_plan import planned
from xaimed_reports.trial.trial_records import Overhead, Trial

CPU = torch.device("cpu")
PLAN = planned(12, 2, 1)
QUIET, BUSY = Conditions(0.1, 0.0, 0.01, 3, 2), Conditions(2.0, 0.0, 0.5, 3, 2)


@pytest.fixture
def gate(monkeypatch, make_run, store):
    """Stands for the gate's process: writes a run of two rows; ``gate.made`` tells what was asked for."""

    class Gate:
        made, conditions, busy = [], QUIET, []

        def __call__(self, checkout, stored, *words, name):
            self.made.append((name, *(w for w in words if w.startswith("--extra-work"))))
            rows = [
                Row(Case("toy", {"x": x}, 1), "ours", "xaimed", "failed", conditions=self.conditions)
                for x in "ab"
            ]
            stored.parent.mkdir(parents=True, exist_ok=True)
            run = make_run(rows=tuple(rows), revision="0123456789ab")
            store(run, stored)
            stored.with_suffix(".journal.jsonl").touch()
            return run

    found = Gate()
    monkeypatch.setattr(trial, "gate_process", found)
    monkeypatch.setattr(trial, "revision", lambda root: "0123456789ab")
    return found


def test_runs_are_made_in_the_plans_order_and_kept_one_by_one(gate, tmp_path):
    assert len(TrialRuns(tmp_path, tmp_path, PLAN).make(5)) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"alike-{i:02}.json" for i in range(5)]
    runs = TrialRuns(tmp_path, tmp_path, PLAN).make(None)
    assert [*runs] == PLAN
    assert [name for name, *_ in gate.made] == [p.name for p in PLAN]
    slowed = [extra for name, *extra in gate.made if name.startswith("slowed")]
    assert slowed == [
        ["--extra-work=toy[a]=0.05", "--extra-work=toy[b]=0.1"],
        ["--extra-work=toy[a]=0.1", "--extra-work=toy[b]=0.2"],
    ]


def test_what_was_interrupted_is_made_again(gate, tmp_path, monkeypatch):
    def interrupted(checkout, stored, *words, name):
        stored.write_text("half a ru")
        raise KeyboardInterrupt

    monkeypatch.setattr(trial, "gate_process", interrupted)
    with pytest.raises(KeyboardInterrupt):
        TrialRuns(tmp_path, tmp_path, PLAN).make(1)
    monkeypatch.setattr(trial, "gate_process", gate)
    assert len(TrialRuns(tmp_path, tmp_path, PLAN).make(1)) == 1


def test_a_disturbed_run_is_set_aside_and_made_again_but_not_for_ever(gate, tmp_path):
    gate.conditions = BUSY
    runs = TrialRuns(tmp_path, tmp_path, PLAN)
    assert len(runs.make(1)) == 1
    assert runs.disturbed == MOST_DISTURBED == len(gate.made) - 1
    kept = [f"disturbed-{i + 1}-alike-00.json" for i in range(MOST_DISTURBED)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alike-00.json", *kept]


def test_runs_set_aside_before_an_interruption_count_on_resuming(gate, tmp_path, monkeypatch):
    def interrupted_later(*args, **named):
        if len(gate.made) == 1:
            raise KeyboardInterrupt
        return gate(*args, **named)

    gate.conditions = BUSY
    monkeypatch.setattr(trial, "gate_process", interrupted_later)
    with pytest.raises(KeyboardInterrupt):
        TrialRuns(tmp_path, tmp_path, PLAN).make(1)
    monkeypatch.setattr(trial, "gate_process", gate)
    gate.conditions = QUIET
    runs = TrialRuns(tmp_path, tmp_path, PLAN)
    assert len(runs.make(1)) == 1
    assert runs.disturbed == 1
    assert len(gate.made) == 2


def test_a_loaded_run_is_made_beside_a_process_that_spins(gate, tmp_path, monkeypatch):
    alive = []
    started = subprocess.Popen

    def popen(command, **settings):
        alive.append(started([sys.executable, "-c", "import time; time.sleep(60)"]))
        return alive[-1]

    monkeypatch.setattr(trial.subprocess, "Popen", popen)
    gate.conditions = BUSY
    TrialRuns(tmp_path, tmp_path, planned(0, 0, 1)).make(None)
    assert len(alive) == 1
    assert alive[0].poll() is not None


def test_runs_of_another_commit_are_refused(gate, tmp_path, monkeypatch):
    TrialRuns(tmp_path, tmp_path, PLAN).make(1)
    monkeypatch.setattr(trial, "revision", lambda root: "another")
    with pytest.raises(UnreadableError, match="the checkout is at another"):
        TrialRuns(tmp_path, tmp_path, PLAN).make(1)


def test_senseless_requests_give_exit_2(tmp_path, capsys):
    (tmp_path / "alike-00.json").write_text("{}")
    for words in (["--alike", "3"], ["--at-most", "-1"], ["--out", str(tmp_path)]):
        assert main(["trial", *words]) == 2
        assert capsys.readouterr().err.startswith("xaimed trial: ")
    assert main(["trial", "--out", str(tmp_path), "--resume"]) == 2
    assert "alike-00.json" in capsys.readouterr().err


def test_a_finished_trial_is_judged_printed_and_stored(gate, tmp_path, capsys):
    overhead = {"overhead": [to_json(Overhead(1e-3, 0.001, 0.0, 0.002))]}
    out, stored, text = tmp_path / "runs", tmp_path / "trial.json", tmp_path / "trial.md"
    out.mkdir()
    (out / "overhead.json").write_text(json.dumps(overhead))
    words = ["--alike", "12", "--slowed", "1", "--loaded", "1", "--out", str(out), "--resume"]
    assert main(["trial", *words, "--at-most", "3"]) == 3
    last = "judged 0 rows: 3 of 14 runs are there, 3 of them alike (12 needed)\n"
    assert capsys.readouterr().out.endswith(last)
    assert main(["trial", *words, "--json", str(stored), "--markdown", str(text)]) == 3
    said = capsys.readouterr().out
    assert text.read_text().strip() in said
    assert said.splitlines()[-1] == "judged 0 of 0 rows of equal code"  # the rows made here hold no times
    found = from_json(Trial, json.loads(stored.read_text())["trial"])
    assert len(found.runs) == 14
    assert found.alike[0].comparisons == 1
    assert main(["trial", *words, "--at-most", "0"]) == 3
    assert len(gate.made) == 14


@pytest.mark.parametrize("text", ["", "[]", '{"overhead": 3}', '{"overhead": [{"call_s": "x"}]}'])
def test_a_damaged_overhead_gives_exit_2_and_one_line(text, gate, tmp_path, capsys):
    tmp_path.joinpath("overhead.json").write_text(text)
    words = ["--alike", "12", "--slowed", "0", "--loaded", "0", "--out", str(tmp_path), "--resume"]
    assert main(["trial", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "overhead.json" in said


def test_extra_work_takes_the_share_asked_for():
    def call():
        end = time.perf_counter() + 5e-3
        while time.perf_counter() < end:
            pass
        return "its result"

    slowed = with_extra_work(call, 0.5, CPU)
    assert slowed() == "its result"
    ratios = [_seconds(slowed) / _seconds(call) for _ in range(25)]
    assert 1.3 < median(ratios) < 1.7


@pytest.mark.parametrize("share", [0.0, -0.1, 10.0])
def test_a_share_of_extra_work_that_makes_no_sense_is_refused(share):
    with pytest.raises(ValueError, match="share of extra work"):
        with_extra_work(lambda: None, share, CPU)


def test_the_harness_measures_its_own_cost(monkeypatch):
    monkeypatch.setattr(trial_overhead, "CALLS_S", (1e-3,))
    monkeypatch.setattr(trial_overhead, "PLAN", trial_overhead.PLAN.__class__(0.3, 8, 20, 0.0, 0.1))
    (found,) = trial_overhead.measure_overhead()
    assert 2e-4 < found.call_s < 5e-3
    assert found.low <= found.share <= found.high


def _seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began

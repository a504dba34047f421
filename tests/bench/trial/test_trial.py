"""The runs of a trial: what is kept, made again or refused, and extra work that is real."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from random import Random

import pytest
import torch

from xaimed_bench.cli import main
from xaimed_bench.running.alternate import RevisionError, gate_process
from xaimed_bench.trial import extra_work, runs
from xaimed_bench.trial.extra_work import with_extra_work
from xaimed_reports.store.jsonform import UnreadableError, from_json
from xaimed_reports.store.records import Case, Conditions
from xaimed_reports.store.rows import Untimed
from xaimed_reports.trial.records import Trial, planned

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
                Untimed(
                    case=Case("toy", {"x": x}, 1),
                    impl="ours",
                    what="xaimed",
                    status="failed",
                    conditions=self.conditions,
                )
                for x in "ab"
            ]
            stored.parent.mkdir(parents=True, exist_ok=True)
            run = make_run(rows=tuple(rows), revision="0123456789ab")
            store(run, stored)
            stored.with_suffix(".journal.jsonl").touch()
            return run

    found = Gate()
    monkeypatch.setattr(runs, "gate_process", found)
    monkeypatch.setattr(runs, "revision", lambda root: "0123456789ab")
    return found


def test_runs_are_made_in_the_plans_order_and_kept_one_by_one(gate, tmp_path):
    assert len(runs.make_runs(tmp_path, tmp_path, PLAN, 5)) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"alike-{i:02}.json" for i in range(5)]
    assert [*runs.make_runs(tmp_path, tmp_path, PLAN, None)] == PLAN
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

    monkeypatch.setattr(runs, "gate_process", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.make_runs(tmp_path, tmp_path, PLAN, 1)
    monkeypatch.setattr(runs, "gate_process", gate)
    assert len(runs.make_runs(tmp_path, tmp_path, PLAN, 1)) == 1


def test_a_loaded_run_is_made_beside_a_process_that_spins(gate, tmp_path, monkeypatch):
    alive = []
    started = subprocess.Popen

    def popen(command, **settings):
        alive.append(started([sys.executable, "-c", "import time; time.sleep(60)"]))
        return alive[-1]

    monkeypatch.setattr(runs.subprocess, "Popen", popen)
    gate.conditions = BUSY
    runs.make_runs(tmp_path, tmp_path, planned(0, 0, 1), None)
    assert len(alive) == 1
    assert alive[0].poll() is not None


def test_a_gate_process_finds_every_package_in_its_own_tree(tmp_path, monkeypatch):
    """Else a side would measure the packages of the checkout that started it."""
    monkeypatch.delenv("PYTHONPATH", raising=False)  # "make PY=" sets it
    given = {}

    def note(command, **settings):
        given.update(settings["env"])
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(subprocess, "run", note)
    with pytest.raises(RevisionError, match="measured nothing"):
        gate_process(tmp_path, tmp_path / "run.json", name="base")
    settings = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    paths = settings["tool"]["pytest"]["ini_options"]["pythonpath"]
    assert given["PYTHONPATH"].split(os.pathsep) == [str(tmp_path / path) for path in paths]


def test_runs_of_another_commit_are_refused(gate, tmp_path, monkeypatch):
    runs.make_runs(tmp_path, tmp_path, PLAN, 1)
    monkeypatch.setattr(runs, "revision", lambda root: "another")
    with pytest.raises(UnreadableError, match="the checkout is at another"):
        runs.make_runs(tmp_path, tmp_path, PLAN, 1)


def test_senseless_requests_give_exit_2(tmp_path, capsys):
    (tmp_path / "alike-00.json").write_text("{}")
    for words in (["--at-most", "-1"], ["--out", str(tmp_path)]):
        assert main(["trial", *words]) == 2
        assert capsys.readouterr().err.startswith("xaimed trial: ")


def test_a_finished_trial_is_judged_printed_and_stored(gate, tmp_path, capsys):
    out, stored, text = tmp_path / "runs", tmp_path / "trial.json", tmp_path / "trial.md"
    words = ["--out", str(out)]
    assert main(["trial", *words, "--at-most", "3"]) == 3
    last = "judged 0 rows: 3 of 60 runs are there, 3 of them alike (12 needed)\n"
    assert capsys.readouterr().out.endswith(last)
    assert main(["trial", *words, "--json", str(stored), "--markdown", str(text)]) == 3
    said = capsys.readouterr().out
    assert text.read_text().strip() in said
    assert said.splitlines()[-1] == "judged 0 of 0 rows of equal code"  # the rows made here hold no times
    found = from_json(Trial, json.loads(stored.read_text())["trial"])
    assert len(found.runs) == 60
    assert found.alike[0].exit_codes == {"1": 10}
    assert main(["trial", *words, "--at-most", "0"]) == 3
    assert len(gate.made) == 60


@pytest.mark.parametrize("share", [0.05, 0.5, 2.0])
def test_extra_work_takes_the_share_asked_for_whatever_disturbs_some_calls(share, monkeypatch):
    now, disturbances = [0.0], Random(0)

    def call():
        now[0] += 5e-3 + disturbances.choice((0.0, 2e-2))
        return "its result"

    def product(*_, out):
        now[0] += 1e-5

    monkeypatch.setattr(extra_work.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(extra_work.torch, "mm", product)
    slowed = with_extra_work(call, share, CPU)
    disturbances.choice = lambda _: 0.0
    before = now[0]
    assert slowed() == "its result"
    assert (now[0] - before) / 5e-3 == pytest.approx(1 + share, rel=0.01)


@pytest.mark.parametrize("share", [0.0, -0.1, 10.0])
def test_a_share_of_extra_work_that_makes_no_sense_is_refused(share):
    with pytest.raises(ValueError, match="share of extra work"):
        with_extra_work(lambda: None, share, CPU)

"""A training that is stopped, at whatever moment, and resumed ends in the weights of one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.bench.study.train.conftest import about, equal, without_times
from xaimed_bench.study.train import fit
from xaimed_bench.tensor_files import read_header
from xaimed_reports.store.writing import alone_in


def step_of(out: str) -> int:
    header = read_header(Path(out) / "state" / "training.safetensors")
    return json.loads(header["state"])["step"] if header else 0


def test_killed_it_ends_in_the_same_weights(train, command, environment):
    options = ("--epochs", "30", "--keep-every", "0")
    assert train("whole", *options) == 0
    running = subprocess.Popen(command("killed", *options), env=environment, stderr=subprocess.DEVNULL)
    while step_of("killed") < 7 and running.poll() is None:
        time.sleep(0.002)
    assert running.poll() is None, "it ended before it was killed"
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not Path("killed/checkpoint.safetensors").exists()
    assert train("killed", *options, "--resume") == 0
    assert equal("whole", "killed")
    assert without_times("whole") == without_times("killed")


@pytest.mark.parametrize(
    ("writes", "recipe"), [*((writes, "finetune") for writes in (0, 1, 3, 5, 11)), (3, "probe-first")]
)
def test_stopped_at_any_state_it_ends_in_the_same_weights(writes, recipe, train, monkeypatch):
    """Before the first state, within an epoch, at its end, and while the state is written."""
    options = ("--epochs", "3", "--keep-every", "0", "--recipe", recipe)
    assert train("whole", *options) == 0
    left, write = writes, fit.write_state

    def stop(*given):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        write(*given)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "write_state", stop)
        assert train("stopped", *options) == 130
    assert train("stopped", *options, "--resume") == 0
    assert equal("whole", "stopped")
    assert without_times("whole") == without_times("stopped")


def test_a_training_that_is_done_can_be_resumed_and_stays(train):
    assert train("done", "--epochs", "2") == 0
    before = without_times("done")
    assert train("done", "--epochs", "2", "--resume") == 0
    assert without_times("done") == before


def test_states_are_kept_within_an_epoch_only_as_often_as_asked(train, monkeypatch):
    steps: list[int] = []
    write = fit.write_state
    monkeypatch.setattr(fit, "write_state", lambda *given: (steps.append(given[1].step), write(*given)))
    assert train("rare", "--epochs", "2") == 0
    per_epoch = about("rare")["log"][0]["step"]
    assert steps == [per_epoch, 2 * per_epoch]


# ---------------------------------------------------------------------------------------------- what is refused
def test_a_folder_that_holds_a_training_is_not_begun_anew(train, capsys):
    assert train("out", "--epochs", "1") == 0
    capsys.readouterr()
    assert train("out", "--epochs", "1") == 2
    said = capsys.readouterr().err
    assert said == "xaimed train: out holds a training; give --resume to go on with it, or another --out\n"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--epochs", "2"), "recipe epochs 1, not 2"),
        (("--epochs", "1", "--seed", "1"), "seed 0, not 1"),
        (("--epochs", "1", "--lr", "0.5"), "recipe rate 0.03, not 0.5"),
        (("--epochs", "1", "--drop-leaks"), "drop-leaks False, not bytes"),
        (("--freeze", "features"), "freeze nothing, not features"),
    ],
)
def test_other_settings_are_refused_by_name(options, name, train, capsys):
    assert train("out", "--epochs", "1") == 0
    assert train("out", *options, "--resume") == 2
    assert f"out was begun with {name}" in capsys.readouterr().err.splitlines()[-1]


def test_two_runs_into_one_folder_are_refused(train, capsys):
    with alone_in(Path("out")):
        assert train("out", "--epochs", "1") == 2
    assert capsys.readouterr().err == (
        "xaimed train: out is in use by another run; wait for its end, or give another folder\n"
    )
    assert train("out", "--epochs", "1") == 0


def test_a_disk_that_fills_is_one_line_and_the_state_before_stays(train, monkeypatch, capsys):
    options = ("--epochs", "2", "--keep-every", "0")
    assert train("whole", *options) == 0
    left, sync = 4, os.fsync

    def full(file):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        sync(file)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        capsys.readouterr()
        assert train("full", *options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "xaimed train: full/state/training.safetensors: No space left on device"
    assert step_of("full") == 3
    assert train("full", *options, "--resume") == 0
    assert equal("whole", "full")


def test_a_state_that_was_damaged_is_said(train, capsys):
    assert train("out", "--epochs", "1") == 0
    Path("out/state/training.safetensors").write_bytes(b"nothing")
    assert train("out", "--epochs", "1", "--resume") == 2
    assert "training.safetensors is damaged; remove it to begin anew" in capsys.readouterr().err

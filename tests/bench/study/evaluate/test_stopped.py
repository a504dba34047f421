"""What stops is resumed, what is shared is the same, what is held by another run or changed is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.bench.study.evaluate.conftest import command, evaluate, rows
from xaimed_bench.study.evaluate import run as running
from xaimed_bench.study.evaluate.shards import shard_path
from xaimed_reports.store.writing import alone_in
from xaimed_reports.study.evaluation import load


def test_killed_it_is_resumed_to_the_same_rows(scans, environment) -> None:
    assert evaluate("whole") == 0
    with subprocess.Popen(
        command("killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as p:
        while not shard_path(Path("killed"), 1).exists() and p.poll() is None:
            time.sleep(0.002)
        assert p.poll() is None, "it ended before it was killed"
        os.kill(p.pid, signal.SIGKILL)
    assert not Path("killed/summary.json").exists()
    assert evaluate("killed") == 2
    assert evaluate("killed", "--resume") == 0
    assert rows("killed") == rows("whole")


def test_a_stopped_run_does_no_batch_twice(scans, monkeypatch) -> None:
    done: list[int] = []
    store = running.store

    def stop(folder, batch, *rest):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(batch)
        store(folder, batch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(running, "store", stop)
        assert evaluate("out") == 130
    monkeypatch.setattr(running, "store", lambda f, b, *rest: (done.append(b), store(f, b, *rest)))
    assert evaluate("out", "--resume") == 0
    assert sorted(done) == [0, 1, 2, 3, 4, 5]


def test_two_processes_write_the_rows_of_one(scans, environment) -> None:
    assert evaluate("one") == 0
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        command("two", start=start), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = rows("one"), rows("two")
    assert one.keys() == two.keys()
    assert max(abs(one[key] - two[key]) for key in one) <= 1e-6
    assert load(Path("one/summary.json")).cells == load(Path("two/summary.json")).cells


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seed", "1"), "weights: "),
        (("--batch", "3"), "batch: 2 there"),
        (("--layer", "0"), "layers: "),
    ],
)
def test_other_settings_are_refused_and_named(scans, options, named, capsys) -> None:
    assert evaluate("out") == 0
    before = rows("out")
    assert evaluate("out", *options, "--resume") == 2
    assert named in capsys.readouterr().err
    assert rows("out") == before


def test_two_runs_into_one_folder_are_refused(scans, capsys) -> None:
    with alone_in(Path("out")):
        assert evaluate("out") == 2
    assert capsys.readouterr().err.endswith(
        "out is in use by another run; wait for its end, or give another folder\n"
    )
    assert not Path("out/settings.json").exists()


def test_a_full_disk_loses_no_row_that_was_written(scans, monkeypatch, capsys) -> None:
    store = running.store

    def full(folder, batch, *rest):
        if batch == 2:
            raise OSError(28, "No space left on device", str(shard_path(folder, batch)))
        store(folder, batch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(running, "store", full)
        assert evaluate("out") == 2
    assert "batch-000002.parquet: No space left on device" in capsys.readouterr().err
    kept = rows("out")
    assert evaluate("out", "--resume") == 0
    assert kept.items() <= rows("out").items()

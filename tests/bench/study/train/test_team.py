"""Several processes train together as one would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.study.train.conftest import about, weights


def test_two_processes_end_in_the_weights_of_one(train, command, environment, scans):
    """In batches of two each process has an image, and none where it cannot be read."""
    (scans / "Training" / "dark" / "bad.png").write_bytes(b"no image")
    options = ("--epochs", "3", "--batch", "2", "--precision", "float32")
    assert train("one", *options, model="fewnets:plain") == 0
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    asked = command("two", *options, model="fewnets:plain", start=start)
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = weights("one"), weights("two")
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    assert done.stdout.count("all test images") == 1
    assert [s["accuracy"] for s in about("one")["scores"]] == [s["accuracy"] for s in about("two")["scores"]]


LATE = """
import time
from datetime import timedelta
import torch
from torch.distributed import distributed_c10d
from xaimed_bench.study.train.team import team_on

distributed_c10d.default_pg_timeout = timedelta(seconds=1)
with team_on(torch.device("cpu")) as team:
    team.wait()
    time.sleep(3 * team.rank)
    team.wait()
"""


def test_a_process_with_more_to_do_is_waited_for_longer_than_torch_would(environment, scans):
    Path("late.py").write_text(LATE)
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "late.py",
    ]
    done = subprocess.run(start, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

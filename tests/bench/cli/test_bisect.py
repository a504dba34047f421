"""`xaimed bisect` names the commit, in work trees of its own, whatever interrupts it.

The repositories here hold a `pytest.py`, which `python -m pytest` finds first in a work tree: in place of a measurement
it stores a run whose time is what the commit's file `cost` says. All else is real: git, processes, judgement.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xaimed_bench.cli import main

ROOT = Path(__file__).parents[3]
KEY = "explaining a batch[xgradcam-4]"
MADE = """
import json, os, pathlib, subprocess, sys
given = dict(zip(sys.argv, sys.argv[1:]))
json_file = next((w for w in sys.argv if w.startswith("--benchmark-json=")), "").partition("=")[2]
place = pathlib.Path(json_file or given["--json"])
prefix = "--xaimed-" if json_file else "--"
with open(os.environ["MADE_PROCESSES"], "a") as said:
    print(place.parent.name, place.name, os.getpid(), file=said)
if given[prefix + "only-case"] != "explaining a batch[xgradcam-4]":
    sys.exit("no case is called so")
level, noise = map(float, pathlib.Path("cost").read_text().split())
seed = int(given[prefix + "shuffle"])
run = json.loads(pathlib.Path("run.json").read_text())
run["xaimed"]["rows"] = []
name = ["git", "rev-parse", "--short=12", "HEAD"]
run["xaimed"]["revision"] = subprocess.run(name, capture_output=True, text=True).stdout.strip()
row = run["benchmarks"][0]["extra_info"]["xaimed"]
row["timing"]["wall_s"] = [level * (1 + noise * (seed % 5 - 2))] * 6
place.write_text(json.dumps(run))
"""
QUIET, NOISY = 0.001, 0.06


def git(folder, *words):
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes a repository with a commit for each cost, and works in it: the commits, oldest first."""

    def made(*costs, program="pytest.py"):
        folder = tmp_path / "checkout"
        folder.mkdir()
        git(folder, "init")
        (folder / program).parent.mkdir(exist_ok=True)
        (folder / program).with_name("__init__.py").touch()
        (folder / program).write_text(MADE)
        (folder / "run.json").write_bytes((ROOT / "tests/reports/golden/schema-3.json").read_bytes())
        for i, cost in enumerate(costs, 1):
            (folder / "cost").write_text(cost if isinstance(cost, str) else f"{cost[0]} {cost[1]}")
            (folder / "number").write_text(str(i))
            git(folder, "add", "-A")
            git(folder, "commit", "-m", f"change {i}")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("MADE_PROCESSES", str(tmp_path / "processes"))
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", None)
        return git(folder, "log", "--reverse", "--format=%H").split()

    return made


def quiet(*levels):
    return [(level, QUIET) for level in levels]


def processes(tmp_path):
    return [line.split() for line in (tmp_path / "processes").read_text().splitlines()]


def found():
    return json.loads(Path("xaimed-results/bisect/found.json").read_text())


def nothing_left(tmp_path):
    listed = git(".", "worktree", "list", "--porcelain")
    assert listed.count("worktree ") == 1
    assert not list((tmp_path / "tmp").iterdir())
    assert not Path("xaimed-results/bisect/search.json").exists()


def test_the_commit_is_named_with_its_evidence_and_the_checkout_is_not_touched(made, tmp_path, capsys):
    commits = made(*quiet(1, 1, 1, 1.1, 1.1, 1.1))
    (Path.cwd() / "cost").write_text("not committed")
    git(".", "checkout", "--detach", "HEAD~1", "--merge")
    assert main(["bisect", commits[0], commits[-1], "--only", KEY]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"slower since {commits[3][:7]} change 4 \(n, ", said)
    evidence = found()
    assert evidence["suspects"] == [commits[3]]
    tried = {each["commit"]: each for each in evidence["tried"]}
    assert next(iter(tried)) == commits[-1]
    assert {commits.index(commit) + 1 for commit in tried} >= {3, 4, 6}
    assert len(tried) <= 4
    for commit, each in tried.items():
        slow = commits.index(commit) >= 3
        assert each["verdict"] == ("slower" if slow else "same")
        assert each["low"] <= (1.1 if slow else 1.0) <= each["high"]
    sides = [name.rpartition("-")[2] for folder, name, _ in processes(tmp_path) if folder == commits[3][:12]]
    assert sides == ["base.json", "new.json", "new.json", "base.json"] * 3
    assert (Path("cost").read_text(), git(".", "rev-parse", "HEAD")) == ("not committed", commits[-2])
    assert not list(Path(".git").glob("BISECT*"))
    nothing_left(tmp_path)


def test_a_users_own_model_is_bisected_by_the_command_that_measures_it(made):
    """Here a work tree's `xaimed_bench` takes the place of a measurement, as its `pytest.py` does elsewhere."""
    commits = made(*quiet(1, 1, 1.1, 1.1), program="xaimed_bench/__main__.py")
    assert (
        main(["bisect", commits[0], commits[-1], "--only", KEY, "--bench", "xaimed bench --model a:b"]) == 0
    )
    assert found()["suspects"] == [commits[2]]


def test_what_cannot_be_measured_is_skipped(made):
    commits = made((1, QUIET), (1, QUIET), "broken", (1, QUIET), (1.1, QUIET))
    assert main(["bisect", commits[0], commits[-1], "--only", KEY]) == 0
    assert found()["suspects"] == [commits[4]]
    assert {each["subject"]: each["verdict"] for each in found()["tried"]}["change 3"] == "skipped"


def test_commits_that_cannot_be_told_apart_are_all_named(made, tmp_path, capsys):
    commits = made((1, QUIET), "broken", (1.05, NOISY), (1.1, QUIET))
    assert main(["bisect", commits[0], commits[-1], "--only", KEY]) == 3
    assert set(found()["suspects"]) == set(commits[1:])
    assert "could not be judged" in capsys.readouterr().out
    assert {each["subject"]: each["verdict"] for each in found()["tried"]} == {
        "change 4": "slower",
        "change 2": "skipped",
        "change 3": "unknown",
    }
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("levels", "noise", "code", "words"),
    [
        ((1, 1), QUIET, 2, "is not worse here at the bad end (same)"),
        ((1.1, 1), QUIET, 2, "is not worse here at the bad end (faster)"),
        ((1, 1.1), NOISY, 3, "the ends could not be judged"),
    ],
)
def test_ends_that_do_not_differ_here_are_not_searched_between(
    levels, noise, code, words, made, tmp_path, capsys
):
    commits = made(*((level, noise) for level in (levels[0], *levels)))
    assert main(["bisect", commits[0], commits[-1], "--only", KEY]) == code
    said = capsys.readouterr()
    assert words in said.err + said.out
    assert len(processes(tmp_path)) == 12
    nothing_left(tmp_path)


def test_a_key_that_no_row_has_is_refused_by_the_first_process(made, tmp_path, capsys):
    commits = made(*quiet(1, 1.1))
    assert main(["bisect", commits[0], commits[-1], "--only", "explaining[none]"]) == 2
    assert "no case is called so" in capsys.readouterr().err
    assert len(processes(tmp_path)) == 1
    nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("ends", "dirty", "words"),
    [
        (("HEAD", "HEAD~1"), False, "HEAD is not an ancestor of HEAD~1"),
        (("HEAD", "HEAD"), False, "the same commit"),
        (("nowhere", "HEAD"), False, "no commit 'nowhere' here"),
        (("HEAD~1", "HEAD"), True, "not committed"),
    ],
)
def test_ends_that_cannot_be_are_refused_before_anything_is_measured(
    ends, dirty, words, made, tmp_path, capsys
):
    made(*quiet(1, 1.1))
    if dirty:
        Path("cost").write_text("2 0")
    assert main(["bisect", *ends, "--only", KEY]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "processes").exists()
    nothing_left(tmp_path)


def begin(tmp_path, *words):
    """A search in a process of its own, when 15 of its processes have run."""
    paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    process = subprocess.Popen(
        [sys.executable, "-m", "xaimed_bench", "bisect", *words],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 # jobs in the background ignore it
    )
    said = tmp_path / "processes"
    wait_for(lambda: (said.exists() and len(processes(tmp_path)) >= 15) or process.poll() is not None)
    return process


def wait_for(condition):
    for _ in range(3600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited three minutes in vain")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_search_goes_on_after_a_kill_and_measures_nothing_twice(number, made, tmp_path, capsys):
    commits = made(*quiet(1, 1, 1, 1.1, 1.1))
    with begin(tmp_path, commits[0], commits[-1], "--only", KEY) as process:
        process.send_signal(number)
        assert process.wait(180) != 0
    if number != signal.SIGKILL:
        assert git(".", "worktree", "list", "--porcelain").count("worktree ") == 1
    assert main(["bisect", commits[0], commits[-1], "--only", KEY]) == 2
    assert "go on with --resume" in capsys.readouterr().err

    assert main(["bisect", "--resume"]) == 0
    assert found()["suspects"] == [commits[3]]
    names = [(folder, name) for folder, name, _ in processes(tmp_path)]
    assert len(names) - len(set(names)) <= 1  # the one that was interrupted
    nothing_left(tmp_path)


def test_an_abort_forgets_the_search(made, tmp_path):
    commits = made(*quiet(1, 1, 1.1))
    with begin(tmp_path, commits[0], commits[-1], "--only", KEY) as process:
        process.terminate()
    assert main(["bisect", "--abort"]) == 0
    nothing_left(tmp_path)
    assert not Path("xaimed-results/bisect/runs").exists()
    assert main(["bisect", "--resume"]) == 2


@pytest.mark.nightly
@pytest.mark.alone
def test_ten_commits_of_a_real_model_are_told_apart(tmp_path):
    paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    command = [sys.executable, "-m", "tests.bench.cli.ten_commits", str(tmp_path / "ten")]
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, check=False).returncode
    if code == 3:
        pytest.skip("something disturbed the machine")
    assert code == 0

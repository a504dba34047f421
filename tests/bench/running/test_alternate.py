"""Base and new in alternating processes: work trees that come and go, and sides that are told apart."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from xaimed_bench.cli import main
from xaimed_bench.running import alternate
from xaimed_bench.running.alternate import Alternation, RevisionError
from xaimed_reports.store.writing import alone_in

ROOT = Path(__file__).parents[3]


def git(folder, *words):
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    """A repository of one file, changed since its only commit."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init")
    (folder / "code.py").write_text("old")
    git(folder, "add", "code.py")
    git(folder, "commit", "-m", "one")
    (folder / "code.py").write_text("changed")
    return folder


@pytest.fixture
def sides(checkout, tmp_path):
    def sides(**settings):
        return Alternation(checkout, "HEAD", **({"runs": 6, "keep": tmp_path / "kept"} | settings))

    return sides


@pytest.fixture
def measured(monkeypatch, make_run):
    """Replaces measuring by a note of the side."""
    order = []

    def note(tree, stored, *words, name, bench):
        order.append(name)
        return make_run()

    monkeypatch.setattr(alternate, "gate_process", note)
    return order


def trees(checkout):
    listed = subprocess.run(
        ["git", "-C", str(checkout), "worktree", "list"], capture_output=True, text=True, check=True
    )
    return len(listed.stdout.splitlines())


def test_the_new_side_holds_uncommitted_changes_and_nothing_is_left_behind(checkout, sides):
    with sides() as opened:
        assert trees(checkout) == 3
        texts = {name: (tree / "code.py").read_text() for name, tree in opened._trees.items()}
        folders = list(opened._trees.values())
    assert texts == {"base": "old", "new": "changed"}
    assert trees(checkout) == 1
    assert not any(folder.exists() for folder in folders)
    assert (checkout / "code.py").read_text() == "changed"


def test_processes_alternate_a_b_b_a(sides, measured):
    with sides(runs=4) as opened:
        base, new = opened.measure()
    assert measured == ["base", "new", "new", "base"] * 2
    assert len(base) == len(new) == 4


def test_a_series_that_was_cut_short_goes_on_where_it_stopped(
    sides, checkout, tmp_path, make_run, store, monkeypatch
):
    def stops(tree, stored, *words, name, bench):
        if len(list(kept.glob("*.json"))) == 3:
            raise KeyboardInterrupt
        kept.mkdir(exist_ok=True)
        store(make_run(revision=opened._commits[name][:12]), stored)

    kept = tmp_path / "kept"
    monkeypatch.setattr(alternate, "gate_process", stops)
    with pytest.raises(KeyboardInterrupt), sides() as opened:
        opened.measure()
    rest = []
    monkeypatch.setattr(
        alternate, "gate_process", lambda tree, stored, *words, name, bench: rest.append(name) or make_run()
    )
    with sides(resume=True) as opened:
        base, new = opened.measure()
    assert (len(base), len(new), len(rest)) == (6, 6, 9)
    (checkout / "code.py").write_text("changed again")
    with sides(resume=True) as opened:
        opened.measure()
    assert rest[9:].count("new") == 6  # another new side: only its processes and those not kept run again
    assert len(rest[9:]) == 11


def test_a_revision_that_does_not_exist_gives_exit_2_and_leaves_nothing(checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout)
    assert main(["compare", "--base", "nowhere"]) == 2
    assert "no commit 'nowhere' here: name one that git log shows, or fetch it" in capsys.readouterr().err
    assert trees(checkout) == 1


def test_a_side_without_benches_says_so(sides):
    with sides() as opened, pytest.raises(RevisionError, match="the base side measured nothing"):
        opened.measure()


MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3), nn.ReLU(){more}
    return nn.Sequential(*first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""
OWN = "xaimed bench --model mine.models:build --methods gradcam --no-road --alone --size 32 --batch 1 --budget 1"


def test_a_users_own_model_is_measured_as_each_revision_builds_it(checkout, tmp_path, monkeypatch):
    """Also a package in src/ that is installed from the checkout: each side must import its own."""
    package = checkout / "src/mine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for more in ("", ", nn.Conv2d(4, 4, 3), nn.ReLU()"):
        (package / "models.py").write_text(MODEL.format(more=more))
        git(checkout, "add", "src")
        git(checkout, "commit", "-m", f"more: {more}")
    (package / "models.py").write_text("not committed, and no Python")
    paths = [checkout / "src", *(ROOT / p for p in (".", "kernels", "reports", "bench"))]
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, paths)))
    with Alternation(checkout, "HEAD~1", "HEAD", runs=1, keep=tmp_path / "kept", bench=OWN) as sides:
        for side, (run,), layer in zip(("base", "new"), sides.measure(), "13", strict=True):
            (row,) = run.rows
            assert row.case.key == f"explaining a batch[gradcam-mine.models:build-{layer}-1-fp32-32]"
            assert row.status == "ok"
            assert sides._commits[side].startswith(run.revision)
            assert run.profile == "gate"


@pytest.mark.parametrize(
    ("bench", "says"),
    [
        ("xaimed bench --methods gradcam", "required: --model"),
        ("xaimed bench --model 'mine:build", "No closing quotation"),
        ("xaimed bench --model mine:build --json r.json", "--json is set for each process"),
        ("xaimed bench --model mine:build --resume", "--resume is set for each process"),
        ("xaimed bench --model mine:build --batch 0", "1 at least"),
    ],
)
@pytest.mark.parametrize("command", ["compare --base HEAD", "bisect HEAD HEAD --only x"])
def test_a_command_that_cannot_measure_is_refused_before_it_runs(bench, says, command, checkout, capsys):
    assert main([*command.split(), "--bench", bench]) == 2
    assert says in capsys.readouterr().err


def test_runs_of_other_rows_are_not_taken_for_those_asked_for(checkout, measured, monkeypatch, capsys):
    monkeypatch.chdir(checkout)
    asked = ["compare", "--base", "HEAD", "--keep", "kept"]
    main([*asked, "--bench", "a.py"])
    assert len(measured) == 12
    capsys.readouterr()
    for other in (["--bench", "b.py"], [], ["--bench", "a.py", "--only", "x"]):
        assert main([*asked, "--resume", *other]) == 2
        assert "kept holds runs of another --bench or --only" in capsys.readouterr().err
    assert len(measured) == 12


def test_a_damaged_result_is_measured_again_and_that_is_said(
    sides, measured, make_run, store, tmp_path, capsys
):
    (tmp_path / "kept").mkdir()
    with sides(resume=True) as opened:
        for i, name in enumerate(("base", "new", "new", "base")):
            store(make_run(revision=opened._commits[name][:12]), tmp_path / f"kept/first-{i:02}-{name}.json")
        (tmp_path / "kept/first-02-new.json").write_text('{"benchmarks"')
        assert opened.measure()[0]
    assert len(measured) == 9
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith(f"{tmp_path / 'kept'}: first-02-new.json: not JSON, or cut short")
    assert said.endswith("this process is measured again")


def test_a_folder_that_does_not_say_what_its_runs_are_of_is_refused_with_what_to_do(
    checkout, measured, monkeypatch, capsys
):
    monkeypatch.chdir(checkout)
    (checkout / "kept").mkdir()
    (checkout / "kept/asked.json").write_text('{"bench"')
    assert main(["compare", "--base", "HEAD", "--keep", "kept", "--resume"]) == 2
    said = capsys.readouterr().err
    assert "kept does not say what its runs are of" in said
    assert said.endswith("leave --resume out, or choose another --keep\n")
    assert measured == []


@pytest.mark.parametrize("command", ["compare --base HEAD --keep", "compare --floor --keep", "trial --out"])
def test_two_runs_at_once_do_not_write_into_one_folder(command, checkout, measured, monkeypatch, capsys):
    """Each would read what the other measured."""
    monkeypatch.chdir(checkout)
    with alone_in(Path("kept")):
        assert main([*command.split(), "kept"]) == 2
    assert (
        "kept is in use by another run; wait for its end, or give another folder" in capsys.readouterr().err
    )
    assert measured == []
    assert not list((checkout / "kept").iterdir())


def test_what_an_interrupted_process_stored_is_not_taken_for_its_whole_run(tmp_path, monkeypatch):
    """Ctrl-C reaches it too: it stores the rows that it has."""
    stored = tmp_path / "run.json"

    def interrupted(command, **settings):
        stored.write_text("{}")
        return subprocess.CompletedProcess(command, 2, "", "")

    def both_interrupted(command, **settings):
        stored.write_text("{}")
        raise KeyboardInterrupt

    for run, error in ((interrupted, RevisionError), (both_interrupted, KeyboardInterrupt)):
        monkeypatch.setattr(subprocess, "run", run)
        with pytest.raises(error):
            alternate.gate_process(tmp_path, stored, name="base")
        assert not stored.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_work_tree_and_no_process(number, checkout, tmp_path):
    """The gate's processes here tell their id and sleep."""
    git(checkout, "checkout", "--", "code.py")
    (checkout / "bench").mkdir()
    (checkout / "bench/bench_cam.py").touch()
    (checkout / "bench/conftest.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )
    git(checkout, "add", "bench")
    git(checkout, "commit", "-m", "two")
    paths = ":".join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    command = [sys.executable, "-m", "xaimed_bench", "compare", "--base", "HEAD"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": paths, "TMPDIR": str(tmp_path)}
    # a shell's background jobs ignore some signals, and would hand that on
    heard = partial(signal.signal, number, signal.SIG_DFL)
    options = {"env": environment, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heard}
    with subprocess.Popen(command, cwd=checkout, **options) as process:
        try:
            _wait_for((tmp_path / "child").exists)
            assert trees(checkout) == 3
            process.send_signal(number)
            _, said = process.communicate(timeout=180)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert trees(checkout) == 1
    assert not list(tmp_path.glob("xaimed-compare-*"))
    child = int((tmp_path / "child").read_text())
    _wait_for(lambda: not Path(f"/proc/{child}").exists())


def _wait_for(condition):
    for _ in range(1800):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("waited three minutes in vain")

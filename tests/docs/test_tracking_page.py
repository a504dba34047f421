"""docs/tracking.md, followed from an empty repository to the trend: its files are written, its commands run."""

import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xaimed_bench.cli import main

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?P<language>\w*)(?: title=\"(?P<file>[^\"]*)\")?\n(?P<text>.*?)^```", re.M | re.S)
BISECT = "xaimed bisect GOOD BAD --only KEY"
LEFT_OUT = {
    BISECT: "it measures for minutes: the nightly run follows it below, tests/bench/cli/test_bisect.py made ones",
    "xaimed compare --base origin/main --confirm --markdown comment.md --require-judged 80%": (
        "it measures for minutes, beside a remote's branch: tests/reports/compare/test_comment.py judges stored runs so"
    ),
}
EXITS = {"xaimed history check": 3}
"""One run is not enough to judge by, as the page says."""


def git(*words):
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """The page's files, written and committed in an empty repository, and its commands."""
    monkeypatch.chdir(tmp_path)
    commands = []
    for found in BLOCK.finditer((ROOT / "docs/tracking.md").read_text()):
        if found["file"]:
            Path(found["file"]).parent.mkdir(parents=True, exist_ok=True)
            Path(found["file"]).write_text(found["text"])
        else:
            assert not found["language"], "a block without a file's name holds commands"
            commands += found["text"].splitlines()
    plugins = importlib.metadata.entry_points(group="pytest11")
    if not any(plugin.value.startswith("xaimed") for plugin in plugins):
        shutil.copy(ROOT / "bench/conftest.py", "bench/conftest.py")  # as an installed xaimed would bring it
    Path(".gitignore").write_text("xaimed-results/\n")
    git("init")
    commit("begin")
    return commands


def commit(message):
    git("add", "-A")
    git("commit", "-m", message)


def follow(command):
    program, *words = shlex.split(command)
    if program == "xaimed":
        return main(words)
    assert program == "pytest"
    paths = ":".join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": paths}
    return subprocess.run([sys.executable, "-m", program, *words], env=environment, check=False).returncode


def test_the_page_goes_from_an_empty_repository_to_the_trend(blocks, capsys):
    assert LEFT_OUT.keys() <= set(blocks)
    for command in blocks:
        if command not in LEFT_OUT:
            assert follow(command) == EXITS.get(command, 0), command
    said = capsys.readouterr().out
    assert "1 rows have fewer than 10 runs" in said or "disturbed the machine during 1 rows" in said
    assert "explaining[xgradcam]" in Path("trend.html").read_text()
    head = git("rev-parse", "--short=12", "HEAD").strip()
    assert f",{head}," in Path("points.csv").read_text()


@pytest.mark.nightly
def test_the_page_names_the_commit(blocks, capsys):
    """The third of five commits explains twice."""
    bench = Path("bench/bench_cam.py")
    for i in range(2, 6):
        twice = "        explain(MODEL, IMAGES, method)\n" if i == 3 else ""
        bench.write_text(
            bench.read_text().replace("    def maps():\n", f"    def maps():  # {i}\n{twice}", 1)
        )
        bench.write_text(re.sub(r"maps\(\):(  # \d)+", f"maps():  # {i}", bench.read_text()))
        commit(f"change {i}")
    words = BISECT.replace("GOOD", "HEAD~4").replace("BAD", "HEAD").replace("KEY", "explaining[xgradcam]")
    code = main(shlex.split(words)[1:])
    if code == 3:
        pytest.skip("something disturbed the machine")
    assert code == 0
    assert "change 3" in capsys.readouterr().out.splitlines()[-1]


def test_what_check_and_bisect_found_among_ten_commits_is_on_record():
    link = re.search(r"\[figures\]\(\.\./(\S*ten-commits\.json)\)", (ROOT / "docs/tracking.md").read_text())
    assert link is not None
    found = json.loads((ROOT / link[1]).read_text())
    assert found["check_names"] == found["bisect_names"] == [found["begins_with"]] == [7]
    assert (found["row"], found["extra_work"]) == ("explaining[xgradcam-resnet18]", 0.1)

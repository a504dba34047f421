"""Ten commits of a real model's bench, the seventh with 10 % extra work: do `check` and `bisect` name it?

  python -m tests.bench.cli.ten_commits FOLDER --json reports/results/DEVICE/ten-commits.json

FOLDER keeps the repository and all results; called again, it goes on where it was cut short, measures again what was
disturbed, and goes on with an inconclusive search. Exits with 0 where both name the seventh commit, with 1 where one
names another, with 3 where the machine was too disturbed to judge.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from xaimed_bench.cli.bisect import INCONCLUSIVE
from xaimed_bench.measure.checkout import git
from xaimed_bench.measure.checkout import revision as revision_of
from xaimed_bench.running.alternate import gate_process
from xaimed_reports.compare.disturbance import disturbance
from xaimed_reports.history.judge import check
from xaimed_reports.history.store import read
from xaimed_reports.store.jsonform import to_json
from xaimed_reports.store.load import load
from xaimed_reports.store.rows import Run, Timed
from xaimed_reports.store.writing import write_whole

ROOT = Path(__file__).parents[3]
COMMITS, GUILTY, EXTRA = 10, 7, 0.10
ROUNDS = 6
"""How often what was disturbed is measured again: `check` needs all ten, `bisect` half of each side."""
KEY = "explaining[xgradcam-resnet18]"
BENCH = '''
import sys
from pathlib import Path

import pytest
import torch

from xaimed_bench.data import phantoms
from xaimed_bench.models import build_model
from xaimed_bench.trial.extra_work import products_for, with_products
from xaimed_core import explain

PRODUCTS = Path(__file__).parent / "products"
"""How many matrix products this commit makes for nothing: a fixed amount, set when the repository was made."""


def explaining(method="xgradcam", model="resnet18"):
    network = build_model(model)
    images = phantoms("mri", 4, size=128).images
    return network, images, lambda: explain(network, images, method, "layer4").maps[method]


@pytest.mark.parametrize("model", ["resnet18"])
@pytest.mark.parametrize("method", ["xgradcam"])
def bench_explaining(measure, method, model):
    network, images, maps = explaining(method, model)

    @torch.no_grad()
    def forward():
        return network(images)

    right = maps()
    ours = with_products(maps, int(PRODUCTS.read_text()), images.device)
    measure(ours, truth=lambda: right, allowed=1e-4, forward=forward, images=len(images))


if __name__ == "__main__":
    _, images, maps = explaining()
    print(products_for(maps, float(sys.argv[1]), images.device, timed=200))
'''
INI = "[pytest]\npython_files = bench_*.py\npython_functions = bench_*\n"
IDENTITY = ("-c", "user.name=n", "-c", "user.email=e")


def make(folder: Path) -> list[str]:
    """The repository's commits, oldest first; made where they are missing."""
    if not (folder / ".git").exists():
        (folder / "bench").mkdir(parents=True)
        git(folder, "init")
        (folder / "bench/bench_cam.py").write_text(BENCH)
        (folder / "pytest.ini").write_text(INI)
        (folder / ".gitignore").write_text("xaimed-results/\n__pycache__/\n")
        measured = [sys.executable, "bench/bench_cam.py", str(EXTRA)]
        found = subprocess.run(measured, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
        for i in range(1, COMMITS + 1):
            (folder / "bench/products").write_text(found if i >= GUILTY else "0")
            (folder / "number").write_text(str(i))
            git(folder, "add", "-A")
            git(folder, *IDENTITY, "commit", "-m", f"change {i}", dated=True)
    return git(folder, "log", "--reverse", "--format=%H", "--all").split()


def xaimed(folder: Path, *words: str) -> int:
    """The exit code of a command, in the repository."""
    return subprocess.run([sys.executable, "-m", "xaimed_bench", *words], cwd=folder, check=False).returncode


def remember(folder: Path, commits: list[str]) -> list[int]:
    """Measure each commit, and fill the history. The numbers of those that something disturbed in every round."""
    runs = {i: folder / f"xaimed-results/run-{i}.json" for i in range(1, len(commits) + 1)}
    for _ in range(ROUNDS):  # a machine that is disturbed now may be quiet a few minutes later
        for i, stored in runs.items():
            if not stored.exists() or was_disturbed(load(stored)):
                print(f"commit {i} of {COMMITS}", file=sys.stderr)
                git(folder, "checkout", "--detach", commits[i - 1])
                gate_process(folder, stored, name=f"commit {i}")
    history = folder / "xaimed-results/history.sqlite"
    history.unlink(missing_ok=True)
    for stored in runs.values():
        if xaimed(folder, "history", "add", str(stored), "--file", str(history)):
            sys.exit(f"{stored} could not be added")
    return [i for i, stored in runs.items() if was_disturbed(load(stored))]


def was_disturbed(run: Run) -> bool:
    """Whether `check` cannot judge by it."""
    return any(isinstance(row, Timed) and disturbance(row) for row in run.rows)


def outcome(folder: Path, commits: list[str]) -> dict[str, object]:
    """Which commit each of the two names, by its number, and on what grounds."""
    history = read(folder / "xaimed-results/history.sqlite")
    steps = [step for step in check(history).findings if step.metric == "time"]
    numbers = {commit: i for i, commit in enumerate(commits, 1)}
    search = json.loads((folder / "xaimed-results/bisect/found.json").read_text())
    return {
        "machine": to_json(load(folder / "xaimed-results/run-1.json").machine),
        "revision": revision_of(ROOT),
        "row": KEY,
        "extra_work": EXTRA,
        "products": int(git(folder, "show", f"{commits[-1]}:bench/products")),
        "begins_with": GUILTY,
        "check_names": [step.first.number for step in steps],
        "bisect_names": [numbers[commit] for commit in search["suspects"]],
        "history": [
            {"run": stored.number, "forwards": point.value, "interval": [point.low, point.high]}
            for stored in history
            for point in stored.entry.points
            if point.metric == "time"
        ],
        "check": [{"ratio": s.ratio, "limit": s.limit, "cause": s.cause} for s in steps],
        "bisect": [
            {"commit": numbers[each["commit"]], **{k: each[k] for k in ("verdict", "ratio", "low", "high")}}
            for each in search["tried"]
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    folder = given.folder.absolute()
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # two threads wait for the slower core: forward passes differ twice as much
    )
    commits = make(folder)
    disturbed = remember(folder, commits)
    code = INCONCLUSIVE
    for _ in range(ROUNDS):
        if code == INCONCLUSIVE:
            begun = (folder / "xaimed-results/bisect/search.json").exists()
            code = xaimed(
                folder, "bisect", *("--resume",) if begun else (commits[0], commits[-1], "--only", KEY)
            )
    if code:
        return code
    found = outcome(folder, commits) | {"disturbed": disturbed}
    text = json.dumps(found, indent=1)
    print(text)
    if given.json:
        write_whole(given.json, text)
    if found["check_names"] == found["bisect_names"] == [GUILTY]:
        return 0
    return 3 if disturbed else 1


if __name__ == "__main__":
    sys.exit(main())

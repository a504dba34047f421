"""`xaimed bench` measures anyone's model in the records that every other command takes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xaimed_bench.cli import main
from xaimed_bench.running import own
from xaimed_reports.store.load import load
from xaimed_reports.store.rows import Timed

ROOT = Path(__file__).parents[3]
SITE = Path(torch.__file__).parents[1]
MODEL = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
    )

def sized(classes):
    model = build()
    model[7] = nn.Linear(16, classes)
    return model

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.norm, self.head = nn.Conv2d(3, 12, 8, stride=8), nn.LayerNorm(12), nn.Linear(12, 3)
        self.block = nn.TransformerEncoderLayer(12, 2, 24, batch_first=True, dropout=0.0)

    def forward(self, x):
        return self.head(self.norm(self.block(self.patches(x).flatten(2).mT)).mean(1))

def tokens():
    torch.manual_seed(0)
    return Tokens()

def pair():
    return nn.Sequential(nn.Conv2d(3, 2, 3))

def broken():
    raise RuntimeError("no such file")

def five_channels():
    return nn.Sequential(nn.Conv2d(5, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
SMALL = ["--size", "48", "--batch", "2", "--budget", "100000"]
ONE_METHOD = ["bench", "--methods", "gradcam", "--no-road", *SMALL, "--json", "r.json"]
TWO_METHODS = [*ONE_METHOD, "--model", "mine:build", "--alone", "--methods", "gradcam,eigencam"]
BENCH = """
import pytest, torch
from mine import build
from xaimed_core import explain

@pytest.mark.parametrize("method", ["gradcam"])
def bench_my_model(measure, method):
    model, images = build().eval(), torch.rand(2, 1, 48, 48)
    maps = lambda: explain(model, images, method, "4").maps[method]
    measure(maps, truth=maps, forward=lambda: model(images), images=2, allowed=1e-6)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of the user's, without a checkout, that holds mine.py."""
    (tmp_path / "mine.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    yield tmp_path
    sys.modules.pop("mine", None)


def test_alone_methods_and_road_are_checked_by_float64_and_timed(here, capsys):
    words = ["bench", "--model", "mine:build", "--alone", "--methods", "gradcam,eigencam", *SMALL]
    assert main([*words, "--json", "run.json"]) == 0
    rows = load(here / "run.json").rows
    assert [row.case.key for row in rows] == [
        "explaining a batch[gradcam-mine:build-4-2-fp32-48]",
        "explaining a batch[eigencam-mine:build-4-2-fp32-48]",
        "scoring maps by road[mine:build-48-1]",
    ]
    for row in rows:
        assert isinstance(row, Timed)
        assert row.impl == "ours"
        assert row.forward is not None
        assert row.memory.how
        assert 0 <= row.fidelity.largest <= row.allowed
    assert "measured 3 of 3 cases" in capsys.readouterr().out
    assert main(["report", "run.json"]) == 0
    assert main(["history", "add", "run.json"]) == 0
    assert main(["compare", "run.json", "run.json"]) == 3
    assert "judged 0 of 3 rows; not judged: 3 unknown" in capsys.readouterr().out


def test_beside_grad_cam_each_case_has_two_rows(here):
    pytest.importorskip("pytorch_grad_cam")
    words = ["bench", "--model", "mine:sized", "--methods", "xgradcam", *SMALL]
    assert main([*words, "--json", "run.json"]) == 0
    rows = load(here / "run.json").rows
    assert [row.impl for row in rows] == ["ours", "reference"] * 2
    assert "grad-cam" in rows[1].what


def test_a_method_of_several_layers_is_measured_at_those_given(here):
    pytest.importorskip("pytorch_grad_cam")
    words = [
        "bench",
        "--model",
        "mine:sized",
        "--methods",
        "layercam,refinecam,fullgrad",
        "--layer",
        "2,4",
        *SMALL,
    ]
    assert main([*words, "--no-road", "--json", "run.json"]) == 0
    rows = load(here / "run.json").rows
    assert [row.impl for row in rows] == ["ours", "reference"] * 3
    assert [row.case.axes["layer"] for row in rows] == ["2,4"] * 4 + ["2"] * 2
    assert "RefineCAM" in rows[3].what


def test_where_grad_cam_is_not_installed_it_says_so_and_goes_on(here, monkeypatch, capsys):
    monkeypatch.setattr("xaimed_bench.cli.bench.find_spec", lambda name: None)
    assert main([*ONE_METHOD, "--model", "mine:build"]) == 0
    assert "grad-cam is not installed: xaimed is measured alone" in capsys.readouterr().out
    assert [row.impl for row in load(here / "r.json").rows] == ["ours"]


def test_a_layer_of_tokens_is_measured_alone_and_its_row_says_why(here):
    assert main([*ONE_METHOD, "--model", "mine:tokens"]) == 0
    mine, theirs = load(here / "r.json").rows
    assert isinstance(mine, Timed)
    assert "holds tokens" in theirs.reason


def test_a_case_that_breaks_is_failed_and_the_others_are_measured(here, monkeypatch):
    ask = own.explaining.explaining

    def breaks(subject, methods, **settings):
        if methods == ("gradcam",):
            raise RuntimeError("hooks are not possible")
        return ask(subject, methods, **settings)

    monkeypatch.setattr(own.explaining, "explaining", breaks)
    assert main([*TWO_METHODS]) == 1
    first, second = load(here / "r.json").rows
    assert (first.status, first.reason) == ("failed", "RuntimeError: hooks are not possible")
    assert second.status == "ok"


def test_a_run_that_is_stopped_keeps_what_it_has_and_goes_on(here, monkeypatch):
    ask = own.explaining.explaining

    def stops(subject, methods, **settings):
        if methods == ("eigencam",):
            raise KeyboardInterrupt
        return ask(subject, methods, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(own.explaining, "explaining", stops)
        assert main([*TWO_METHODS]) == 130
    (first,) = load(here / "r.json").rows
    assert main([*TWO_METHODS, "--resume"]) == 0
    again, second = load(here / "r.json").rows
    assert again == first
    assert second.status == "ok"


def test_rows_can_be_chosen_and_shuffled(here, capsys):
    keys = [f"explaining a batch[{method}-mine:build-4-2-fp32-48]" for method in ("gradcam", "eigencam")]
    orders = set()
    for seed in ("0", "1", "2", "3"):
        assert main([*TWO_METHODS, "--shuffle", seed, "--budget", "1", "--profile", "gate"]) == 0
        orders.add(tuple(row.case.key for row in load(here / "r.json").rows))
    assert orders == {tuple(keys), tuple(reversed(keys))}
    assert main([*TWO_METHODS, "--only-case", keys[1]]) == 0
    assert [row.case.key for row in load(here / "r.json").rows] == [keys[1]]
    assert main([*TWO_METHODS, "--only-case", "none"]) == 2
    assert f"no case is called so; there are {keys[1]}, {keys[0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--model mine:broken", "mine:broken raised RuntimeError: no such file"),
        ("--model mine:five_channels", "reads 5 channels"),
        ("--model mine:pair", "scores [images, classes] are needed"),
        ("--model mine:build --layer nothing", "nothing"),
        ("--model mine:build --methods refinecam", "give e.g. --layer layer2,layer3,layer4"),
        ("--model mine:build --methods refinecam --layer 2,9", "9"),
        ("--model mine:build --data none", "--data: no folder at none"),
        ("--model mine:build --size 16 --layer 7", "cannot be explained"),
    ],
)
def test_a_model_that_cannot_be_measured_is_one_line_and_exit_code_2(words, says, here, capsys):
    assert main(["bench", *words.split(), "--json", "r.json"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") <= 3
    assert "Traceback" not in said
    assert not (here / "r.json").exists()


@pytest.fixture
def installed(tmp_path):
    """A Python with the wheel installed beside this one's packages, and no checkout on its path."""
    run = lambda *words, **more: subprocess.run(words, check=True, capture_output=True, **more)  # noqa: E731
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (site / "others.pth").write_text(f"{SITE}\n")
    return python.parent


@pytest.mark.nightly
def test_an_installed_wheel_measures_without_a_checkout(installed, here):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(here), "OMP_NUM_THREADS": "1"}

    def run(name, *words):
        done = subprocess.run(
            [installed / name, *words], cwd=here, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run("python", "-c", "import xaimed_bench; print(xaimed_bench.__file__)")
    assert str(installed.parent) in where, "the wheel's code must be the one that runs"
    run("xaimed", "bench", "--model", "mine:build", "--methods", "gradcam", *SMALL, "--json", "run.json")
    run("xaimed", "report", "run.json")
    run("xaimed", "history", "add", "run.json")
    (here / "bench_mine.py").write_text(BENCH)
    (here / "pytest.ini").write_text("[pytest]\npython_files = bench_*.py\npython_functions = bench_*\n")
    said = run("python", "-m", "pytest", "-p", "no:cacheprovider", "bench_mine.py", "--benchmark-json=x.json")
    assert "Next: xaimed report x.json" in said
    assert [row.impl for row in load(here / "x.json").rows] == ["ours"]

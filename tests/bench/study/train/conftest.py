"""A small set of images, networks of a few weights, and `xaimed train` on them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.bench.data.made import copy
from xaimed_bench.cli import main

ROOT = Path(__file__).parents[4]
NETWORKS = """
from torch import nn

def build(classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))

def plain(classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.GroupNorm(2, 8), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))

def softened(classes):
    return nn.Sequential(plain(classes), nn.Softmax(1))
"""


def scan(path: Path, seed: int, brightness: float) -> Path:
    """Coarse noise; its brightness tells the class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 160, (10, 10, 3))
    coarse = Image.fromarray((noise * brightness).astype(np.uint8))
    coarse.resize((40, 40), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def scans(tmp_path: Path, monkeypatch) -> Path:
    """40 images to train on and 12 to test on, of which one leaks; the working directory is theirs."""
    folder = tmp_path / "scans"
    for k in range(40):
        scan(folder / "Training" / ("dark", "light")[k % 2] / f"{k}.png", k, (0.7, 1.5)[k % 2])
    for k in range(11):
        scan(folder / "Testing" / ("dark", "light")[k % 2] / f"new{k}.png", 100 + k, (0.7, 1.5)[k % 2])
    copy(folder / "Training" / "light" / "1.png", folder / "Testing" / "light" / "leak.png")
    (tmp_path / "fewnets.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a process of its own, in which the same weights come out."""
    paths = os.pathsep.join(
        [*(str(ROOT / part) for part in (".", "kernels", "reports", "bench")), str(tmp_path)]
    )
    return {**os.environ, "PYTHONPATH": paths}


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


OPTIONS = ("--size", "32", "--batch", "8", "--threads", "1", "--device", "cpu")


@pytest.fixture
def train(scans: Path) -> Callable[..., int]:
    """``train("out", "--epochs", "2")``: the exit code of the command on the images."""

    def train(out: str, *options: str, model: str = "fewnets:build") -> int:
        known = OPTIONS[:2] + OPTIONS[4:] if "--freeze" in options else OPTIONS
        return main(["train", "scans", "--model", model, "--out", out, *known, *options])

    return train


@pytest.fixture
def command(scans: Path) -> Callable[..., list[str]]:
    """The same as a command line."""

    def command(
        out: str, *options: str, model: str = "fewnets:build", start: tuple[str, ...] = ()
    ) -> list[str]:
        return [
            sys.executable, *start, "-m", "xaimed_bench", "train", "scans", "--model", model, "--out", out,
            *OPTIONS, *options,
        ]  # fmt: skip

    return command


def weights(out: str) -> dict[str, torch.Tensor]:
    return load_file(Path(out) / "checkpoint.safetensors")


def equal(one: str, other: str) -> bool:
    """Whether two trainings ended in the same weights, bit for bit."""
    mine, theirs = weights(one), weights(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def about(out: str) -> dict:
    return json.loads((Path(out) / "train.json").read_text())


def without_times(out: str) -> dict:
    found = about(out)
    return {**found, "log": [{k: v for k, v in row.items() if k != "seconds"} for row in found["log"]]}

"""A small set of images, and networks of a few weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.bench.data.made import copy

ROOT = Path(__file__).parents[3]
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

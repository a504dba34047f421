"""`xaimed evaluate` over many synthetic images: its summary says what memory it took, early and in all.

Usage: python bench/ten_thousand_images.py FOLDER [IMAGES]    images and results go to FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from xaimed_bench.cli import main

SIDE = 32
OPTIONS = (
    "--split", "all", "--model", "ten_thousand_images:tiny", "--layer", "2", "--size", str(SIDE), "--batch", "32",
    "--methods", "xgradcam,ablationcam", "--metrics", "road,drop,increase", "--device", "cpu", "--no-images",
)  # fmt: skip


def tiny(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    )  # fmt: skip


def make(folder: Path, count: int) -> None:
    """Noise, brighter in one class than in the other."""
    random = np.random.default_rng(0)
    for k, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for i in range(k, count, 2):
            pixels = random.integers(0, 160 + 95 * k, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:05}.png")


def evaluate(folder: Path, count: int) -> int:
    """The exit code of `xaimed evaluate`."""
    make(folder / "images", count)
    sys.argv[1:] = [
        "evaluate",
        str(folder / "images"),
        "--out",
        str(folder / "out"),
        *OPTIONS,
    ]  # the summary names it
    return main()


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(evaluate(Path(given[0]), int(given[1]) if given[1:] else 10_000))

"""`xaimed train` on the small set."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xaimed_bench.cli import main

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

"""`xaimed evaluate` on small images, without the timing of methods."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from xaimed_bench.cli import main
from xaimed_bench.study.evaluate.shards import read

OPTIONS = ("--model", "fewnets:plain", "--layer", "2", "--size", "32", "--batch", "2", "--device", "cpu",
           "--workers", "0", "--methods", "xgradcam,ablationcam,eigengradcam", "--no-images",
           "--metrics", "road,drop,increase,pointing,mass,like ablationcam")  # fmt: skip


def evaluate(out: str, *options: str, data: str = "scans") -> int:
    return main(["evaluate", data, "--out", out, *OPTIONS, *options])


def command(out: str, *options: str, start: tuple[str, ...] = ()) -> list[str]:
    module = ("-m", "xaimed_bench", "evaluate", "scans", "--out", out)
    return [sys.executable, *start, *module, *OPTIONS, *options]


def rows(out: str) -> dict[tuple[str, ...], float]:
    found = read(Path(out)).to_pydict()
    keys = zip(found["image"], found["layer"], found["method"], found["metric"], strict=True)
    return dict(zip(keys, found["value"], strict=True))


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    """The timing of methods has tests of its own."""
    monkeypatch.setattr("xaimed_bench.study.evaluate.costs.costs", lambda *_: ())


@pytest.fixture
def checkpoint(scans: Path) -> str:
    """Of a network that was trained on the images."""
    given = ("--size", "32", "--epochs", "1", "--device", "cpu", "--threads", "1")
    assert main(["train", "scans", "--model", "fewnets:plain", "--out", "net", *given]) == 0
    return "net/checkpoint.safetensors"

"""What a first run of `make bench` has measured where its time ends early."""

import importlib.util
import sys
from pathlib import Path

import pytest

from xaimed_core.methods import PAPER

BENCH = Path(__file__).parents[2] / "bench/bench_cam.py"


@pytest.fixture
def bench_cam(monkeypatch):
    spec = importlib.util.spec_from_file_location("bench_cam_as_shipped", BENCH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclass looks for it there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("cuda", [False, True])
def test_the_papers_methods_come_first_and_every_case_once(bench_cam, cuda):
    cases = bench_cam.cases("quick", cuda=cuda)
    assert {case.method for case in cases[: len(PAPER)]} == set(PAPER)
    assert len(set(cases)) == len(cases)

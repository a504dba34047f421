"""A clock and arms whose times are known, and runs that were never measured."""

import json
import time

import pytest
import torch

from xaimed_bench.measure import Plan
from xaimed_bench.measure.case import Question
from xaimed_reports.store.jsonform import to_json
from xaimed_reports.store.records import Case, Machine
from xaimed_reports.store.rows import Run, Untimed


class FakeClock:
    """Time that only passes where an arm says so."""

    def __init__(self):
        self.now = 0.0
        self.cache = "none"
        self.calls = []

    def time(self, call):
        from xaimed_bench.measure.clock import Sample

        before = self.now
        call()
        return Sample(self.now - before, None)


@pytest.fixture
def fake_clock(monkeypatch):
    clock = FakeClock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


@pytest.fixture
def plan():
    return Plan(budget_s=0.2, min_blocks=4, max_blocks=8, relative_error=0.0, warm_up_s=0.1)


@pytest.fixture
def ask():
    """A question about maps that agree, unless told otherwise."""

    def ask(ours=None, reference=None, **fields):
        maps = torch.linspace(0, 1, 64).reshape(1, 8, 8)
        arms = {"ours": ours or maps.clone, "reference": reference or maps.clone}
        defaults = {
            "case": Case("toy", {"x": "1"}, 1),
            "arms": arms,
            "what": {"ours": "xaimed", "reference": "the other"},
            "allowed": 1e-4,
        }
        return Question(**(defaults | fields))

    return ask


@pytest.fixture
def make_run():
    """A run without rows."""
    machine = Machine("Linux x86_64", "a processor", 2, 8 * 2**30, 2, {"torch": "2.14.1"})
    head = {"profile": "gate", "images_from": "phantoms", "revision": None, "started_utc": "", "seconds": 1.0}
    return lambda **fields: Run(**({"machine": machine, "rows": ()} | head | fields))


@pytest.fixture
def make_rows():
    """The two rows of a case that was asked for and not timed."""

    def make_rows(name):
        case = Case("toy", {"x": name}, 1)
        return tuple(Untimed(case=case, impl=impl, what=impl, status="ok") for impl in ("ours", "reference"))

    return make_rows


@pytest.fixture
def store():
    """Writes a run as pytest-benchmark does."""
    return lambda run, path: path.write_text(json.dumps({"benchmarks": [], "xaimed": to_json(run)}))

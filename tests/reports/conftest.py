"""Records made by hand, so that every number of a test is known."""

import json

import numpy as np
import pytest

from xaimed_reports.store.jsonform import to_json
from xaimed_reports.store.records import SCHEMA, Case, Conditions, Fidelity, Machine, Memory, Timing
from xaimed_reports.store.rows import Run, Timed, Untimed

FORWARD_S = 0.100


def timing(*wall_s, per_block=1):
    """Samples in blocks of ``per_block``."""
    return Timing(
        wall_s=tuple(wall_s),
        block=tuple(i // per_block for i in range(len(wall_s))),
        after=("",) * len(wall_s),
        first_s=1.0,
        warm_up_s=0.5,
        arm="ours",
    )


def row(
    impl="ours", wall_s=(0.11, 0.12, 0.10, 0.11, 0.13, 0.11), *, method="xgradcam", status="ok", **fields
):
    defaults = {
        "case": Case("explaining a batch", {"method": method, "batch": "4"}, 4),
        "impl": impl,
        "what": impl,
        "fidelity": Fidelity("maps in [0, 1]", 2e-6, 1e-6, 1.0, 1.0, 1.0, 1.0) if impl == "ours" else None,
        "allowed": 1e-4 if impl == "ours" else None,
        "conditions": Conditions(0.1, 0.0, 0.01, 3, 2),
    }
    if status != "ok":
        return Untimed(status=status, reason=f"because of {status}", **(defaults | fields))
    times = {
        "timing": timing(*wall_s),
        "forward": timing(*[FORWARD_S] * len(wall_s)),
        "memory": Memory(100 * 2**20, "by hand"),
    }
    return Timed(**(defaults | times | fields))


def run(*rows, **fields):
    machine = Machine(
        system="Linux x86_64",
        cpu="a processor",
        cores=2,
        memory_bytes=8 * 2**30,
        threads=2,
        versions={"python": "3.11.7", "torch": "2.14.1", "triton": "3.8.0", "grad-cam": "1.5.7"},
    )
    defaults = {
        "machine": machine,
        "profile": "quick",
        "images_from": "phantoms (mri), seed 0",
        "revision": "0123456789ab",
        "started_utc": "2026-01-02T03:04:05+00:00",
        "seconds": 12.5,
        "rows": rows,
    }
    return Run(**(defaults | fields))


def processes(factor=1.0, *, count=6, seed=0, noise=0.01, **fields):
    """Runs of a row that takes 0.1 s times ``factor``, give or take ``noise``."""
    chance = np.random.default_rng(seed)
    samples = [0.1 * factor * np.exp(noise * chance.standard_normal()) for _ in range(count)]
    return [run(row(wall_s=(s, s, s, s), **fields)) for s in samples]


@pytest.fixture
def make_row():
    return row


@pytest.fixture
def make_run():
    return run


@pytest.fixture
def make_timing():
    return timing


@pytest.fixture
def pair():
    """A run of two cases: one three times faster than the reference, one wrong."""
    return run(
        row("ours"),
        row("reference", (0.33, 0.36, 0.30, 0.33, 0.39, 0.33)),
        row("ours", method="layercam", status="wrong"),
        row("reference", method="layercam", status="skipped"),
    )


def as_stored(run):
    """As the bench's hooks write it: timed rows in their benchmarks, the rest beside."""
    head = to_json(run)
    timed = [r for r in head["rows"] if r["kind"] == "timed"]
    head["rows"] = [r for r in head["rows"] if r["kind"] == "untimed"]
    return {
        "version": "5.3.1",
        "machine_info": {"node": ""},
        "benchmarks": [
            {"name": "x", "stats": {}, "extra_info": {"xaimed": {"schema": SCHEMA, **r}}} for r in timed
        ],
        "xaimed": head,
    }


@pytest.fixture
def stored():
    return as_stored


@pytest.fixture
def store():
    return lambda run, path: path.write_text(json.dumps(as_stored(run)))

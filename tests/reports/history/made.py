"""Histories made by hand, and what the scripts beside this file print."""

import json
import os
import subprocess
import sys
from pathlib import Path

from xaimed_reports.history.points import Entry, Point
from xaimed_reports.history.store import Stored

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ROW = "explaining[xgradcam]"


def made(i: int, time_s: float = 1.1, forward: float = 0.1, figures: str = "", **environment: str) -> Entry:
    around = {"CPU": "a", "threads": "2", "torch": "2.14.1", **environment}
    points = (
        Point(ROW, "forward", forward, forward, forward, 1),
        Point(ROW, "time", time_s, time_s * 0.99, time_s * 1.01, 1),
    )
    return Entry(
        f"{i:012x}", f"2026-01-01T00:{i // 60:02}:{i % 60:02}", "a, 2 threads", around, points, (), figures
    )


def history(*entries: Entry) -> tuple[Stored, ...]:
    return tuple(Stored(i + 1, each, each.digest) for i, each in enumerate(entries))


def said_by(script: str, *words: str):
    """What a script beside this file prints as JSON."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

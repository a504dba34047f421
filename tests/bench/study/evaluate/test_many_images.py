"""10,000 images take the memory of 1,000."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.study.conftest import scan
from tests.bench.study.evaluate.conftest import evaluate
from xaimed_bench.study.evaluate import run as running
from xaimed_reports.study.evaluation import Evaluation, load

ROOT = Path(__file__).parents[4]
SCRIPT = ROOT / "bench/ten_thousand_images.py"
COMMITTED = ROOT / "reports/results/amd-epyc-1-thread/evaluation-ten-thousand-images.json"
IMAGE_BYTES = 3 * 32 * 32 * 4


def grown_by(found: Evaluation) -> int:
    took = found.spent
    assert took is not None
    assert took.tenth_bytes is not None
    assert took.peak_bytes is not None
    return took.peak_bytes - took.tenth_bytes


def evaluated(folder: Path, environment: dict[str, str], count: int) -> Evaluation:
    given = [sys.executable, str(SCRIPT), str(folder), str(count)]
    subprocess.run(given, env=environment, check=True, stdout=subprocess.DEVNULL)
    return load(folder / "out" / "summary.json")


def test_the_script_runs_and_its_summary_holds_the_peaks(tmp_path, environment) -> None:
    found = evaluated(tmp_path, environment, 40)
    assert found.images == 40
    assert grown_by(found) >= 0


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says of a process")
def test_most_images_are_not_held(tmp_path, environment) -> None:
    found = evaluated(tmp_path, environment, 10_000)
    assert found.images == 10_000
    assert grown_by(found) < 9_000 * IMAGE_BYTES / 4


def test_the_committed_run_did_not_hold_them_either() -> None:
    found = load(COMMITTED)
    assert found.images == 10_000
    assert grown_by(found) < 9_000 * IMAGE_BYTES / 4


def resident_bytes() -> int:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads what Linux says of a process")
def test_memory_does_not_grow_with_the_number_of_images(scans, monkeypatch) -> None:
    """Of 240 images of 128 pixels less than a quarter is held after the first 60."""
    for k in range(228):
        scan(scans / "Testing" / ("dark", "light")[k % 2] / f"more{k}.png", 1000 + k, (0.7, 1.5)[k % 2])
    held: list[int] = []
    store = running.store
    monkeypatch.setattr(running, "store", lambda *given: (store(*given), held.append(resident_bytes())))
    assert evaluate("out", "--size", "128", "--batch", "4", "--metrics", "drop", "--methods", "xgradcam") == 0
    assert len(held) == 60
    assert held[-1] - held[14] < (240 - 60) * 3 * 128 * 128 * 4 / 4

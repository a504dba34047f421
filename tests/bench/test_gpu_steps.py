"""`make gpu` takes all its steps, loses nothing and says what failed; here a stand-in for Python pretends a GPU."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = ("gpu-kernels", "gpu-tests", "gpu-profile", "gpu-speed", "gpu-road", "gpu-cam")
STAND_IN = """#!/bin/bash
case "$*" in
  *FAILING*) echo "broken $PYTHONPATH"; exit 1;;
  *device_folder*) [[ $PYTHONPATH == *reports* ]] && echo nvidia-someone;;
  -c*) exit $NO_GPU;;
  *sleeping*) exec sleep 30;;
  *) echo "ran $* with $PYTHONPATH";;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Prints what it was asked to run; fails where that names the step that is to fail."""
    stand_in = tmp_path / "python"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    return stand_in


def make(*words: object, **given: str) -> subprocess.CompletedProcess[str]:
    """``given``: variables of the environment."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OUT", "ARGS", "PYTHONPATH", "MAKEFLAGS")}
    command = ["make", "-C", ROOT, *words]
    environment |= {"NO_GPU": "0", **given}
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("failing", [(), ("--ignore",), ("bench_kernels.py", "profile"), ("bench_cam.py",)])
def test_every_step_leaves_its_file_whatever_the_others_do(python: Path, failing: tuple[str, ...]) -> None:
    text = python.read_text()
    python.write_text(text.replace("*FAILING*", "|".join(f"*{name}*" for name in failing) or "nothing"))
    out = python.parent / "out"
    done = make("gpu", f"PY={python}", OUT=str(out), PYTHONPATH="/carried/wheels")
    logs = {
        file.stem: file.read_text() for file in sorted(out.iterdir(), key=lambda file: STEPS.index(file.stem))
    }
    assert tuple(logs) == STEPS
    assert all("/carried/wheels" in log for log in logs.values()), "the caller's packages are lost"
    failed = [step for step, log in logs.items() if log.startswith("broken")]
    assert len(failed) == len(failing)
    assert (done.returncode == 0) == (not failing)
    if failing:
        assert f"failed or ran out of time: {' '.join(failed)}" in done.stdout
    order = [done.stdout.index(log) for log in logs.values() if log in done.stdout]
    assert order == sorted(order)


@pytest.mark.parametrize("where", ["environment", "command line", "nowhere"])
def test_results_go_where_they_are_wanted(python: Path, where: str) -> None:
    out = python.parent / "out"
    words = [f"OUT={out}"] if where == "command line" else []
    given = {"OUT": str(out)} if where == "environment" else {}
    for step in STEPS:
        said = make("-n", step, f"PY={python}", *words, **given).stdout
        folder = "reports/results/nvidia-someone" if where == "nowhere" else str(out)
        assert f"mkdir -p {folder} " in said
        assert f"| tee {folder}/{step}.txt" in said
        assert ("--benchmark-json" in said) == ("bench/" in said)
        assert f"{folder}/{step}.json" in said or "bench/" not in said


def test_what_takes_too_long_is_ended_and_counted_as_failed(python: Path) -> None:
    done = make("gpu-tests", f"PY={python}", "LIMIT=0.3", "ARGS=sleeping", OUT=str(python.parent / "out"))
    assert done.returncode != 0


def test_without_a_gpu_no_step_begins(python: Path) -> None:
    out = python.parent / "out"
    done = make("gpu", f"PY={python}", OUT=str(out), NO_GPU="1")
    assert done.returncode != 0
    assert not out.exists()


def test_without_grad_cam_the_tests_of_a_gpu_are_collected_all_the_same() -> None:
    blocked = (
        "import sys, pytest; sys.modules['pytorch_grad_cam'] = None; sys.exit(pytest.main(sys.argv[1:]))"
    )
    wanted = (
        "tests/compat",
        "tests/faithfulness",
        "tests/core/process/test_devices.py",
        "-m",
        "gpu",
        "--collect-only",
    )
    found = subprocess.run(
        (sys.executable, "-c", blocked, *wanted), check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout[-2000:]
    assert "grad-cam is not installed" in found.stdout

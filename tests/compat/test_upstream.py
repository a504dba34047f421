"""grad-cam's own tests, from its source package, on `xaimed_core.compat`; skipped where that cannot be fetched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

VERSION = "1.5.7"
QUICK = (
    "test_3d_cam_weights.py",
    "test_fasterrcnn_target_device.py",
    "test_finer_cam_correctness.py",
    "test_one_channel.py",
    "test_svd_no_side_effect.py",
)
LONG = (
    "test_context_release.py",
    "test_context_release_cuda.py",
    "test_refine_cam.py",
    "test_run_all_models.py",
    "test_sess.py",
)
OF_ITS_SOURCE = "test_finer_cam_correctness.py::test_finercam_htcore_is_single_underscore"
"""Reads how grad-cam's FinerCAM is written, for a device that xaimed does not serve: it says nothing of what runs."""


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of grad-cam's tests, beside nothing of its code."""
    kept = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xaimed"
    archive = kept / f"grad_cam-{VERSION}.tar.gz"
    if not archive.exists():
        fetch = [
            sys.executable,
            "-m",
            "pip",
            "download",
            f"grad-cam=={VERSION}",
            "--no-binary",
            ":all:",
            "--no-deps",
        ]
        options = ["--no-build-isolation", "--retries", "0", "--timeout", "15", "--dest", str(kept)]
        done = subprocess.run([*fetch, *options], capture_output=True, text=True, check=False)
        if done.returncode or not archive.exists():
            pytest.skip(
                f"grad-cam {VERSION}'s source package could not be fetched: {done.stderr.strip()[-200:]}"
            )
    folder = tmp_path_factory.mktemp("upstream")
    with tarfile.open(archive) as packed:
        tests = [member for member in packed.getmembers() if "/tests/" in member.name]
        packed.extractall(folder, members=tests, filter="data")
    return folder / f"grad_cam-{VERSION}" / "tests"


def run(suite: Path, files: Sequence[str]) -> str:
    """What pytest says of these files of the suite, run where nothing of grad-cam's package lies."""
    here = suite.parent
    (here / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", *(f"tests/{file}" for file in files), "-q", "-c", "pytest.ini"]
    options = ["--import-mode=importlib", "-p", "no:cacheprovider", "-p", "tests.compat.upstream_suite"]
    done = subprocess.run(
        [*command, *options, f"--deselect=tests/{OF_ITS_SOURCE}"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_no_file_of_the_suite_is_left_out(suite):
    assert {file.name for file in suite.glob("test_*.py")} == {*QUICK, *LONG}
    name = OF_ITS_SOURCE.partition("::")[2]
    assert f"def {name}" in (suite / "test_finer_cam_correctness.py").read_text()


def assert_all_pass(said: str) -> None:
    found = re.findall(r"(\d+) (passed|failed|errors?|skipped)", said.splitlines()[-1])
    assert [what for _, what in found] == ["passed"], said[-3000:]


def test_the_quick_ones_of_grad_cams_own_tests_pass(suite):
    assert_all_pass(run(suite, QUICK))


@pytest.mark.nightly
@pytest.mark.parametrize("file", LONG)
def test_the_long_ones_of_grad_cams_own_tests_pass(suite, file):
    assert_all_pass(run(suite, [file]))

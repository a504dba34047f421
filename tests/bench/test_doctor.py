"""`doctor` tells what a bug report needs, never fails, and gives nobody away."""

from __future__ import annotations

import getpass
import os
import platform
import re
from types import SimpleNamespace

import pytest
import torch

from xaimed_bench import doctor as module
from xaimed_bench.doctor import GIB, WIDTH, doctor


def test_the_report_fits_one_screen_and_names_what_a_bug_report_needs():
    report = str(doctor())
    lines = report.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= WIDTH
    for needed in (
        "xaimed",
        "Python",
        "torch",
        "torchvision",
        "triton",
        "grad-cam",
        "bf16",
        "NVML",
        "threads",
        "memory",
    ):
        assert needed in report
    assert f"torch {torch.__version__.split('+')[0]}" in report
    assert platform.python_version() in report


def test_every_line_of_text_survives_the_wrapping(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(60))))
    diagnosis = doctor()
    shown = re.sub(r"\s+", "", str(diagnosis))
    assert all(re.sub(r"\s+", "", fact.found) in shown for fact in diagnosis.facts)


def test_neither_user_nor_host_nor_home_is_printed(monkeypatch, tmp_path):
    home = tmp_path / "home" / "alice"
    (home / ".triton").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(home / "triton-of-alice"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/scratch/alice/ward7-pc/numba")
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    monkeypatch.setattr(platform, "node", lambda: "ward7-pc")
    diagnosis = doctor()
    assert diagnosis["Triton cache"] == "~/triton-of-USER, writable"
    assert diagnosis["Numba cache"].startswith("/scratch/USER/HOST/numba, ")
    assert not re.search("alice|ward7-pc", str(diagnosis))


def test_a_user_without_name_or_home_is_no_reason_to_fail(monkeypatch):
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setenv("HOME", "/")
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert "inductor" in str(doctor())


def test_a_cache_that_cannot_be_written_is_a_problem_with_its_consequence(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(blocked))
    problems = doctor().problems
    assert problems == ("the Triton cache cannot be written: its kernels are compiled anew in every process",)


def test_trying_a_cache_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "not" / "yet"))
    assert doctor()["Triton cache"].endswith("not/yet, writable")
    assert os.listdir(tmp_path) == []


def test_environment_variables_that_change_the_speed_are_shown(monkeypatch):
    for switch in module.SWITCHES:
        monkeypatch.delenv(switch, raising=False)
    assert doctor()["switches"] == "none set"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert doctor()["switches"] == "OMP_NUM_THREADS=3"


def test_a_missing_package_is_called_missing(monkeypatch):
    monkeypatch.setattr(module, "PEERS", ("grad-cam", "surely-not-installed"))
    assert doctor()["peers"] == "grad-cam 1.5.7, surely-not-installed missing"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_device_the_report_says_so_and_names_no_problem_of_it():
    diagnosis = doctor()
    assert diagnosis["device"].startswith("none: ")
    assert diagnosis["Triton kernels"] == "not tried: no device; CPU paths run"
    assert diagnosis["NVML"] == "not tried: no device"


@pytest.fixture
def full_device(monkeypatch):
    """A CUDA device on which other processes hold all memory."""
    facts = SimpleNamespace(name="a GPU", major=9, minor=0, total_memory=80 * GIB)

    def full(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for name, answer in {
        "is_available": True, "device_count": 1, "get_device_properties": facts
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(module, "free_bytes", full)
    monkeypatch.setattr(torch, "linspace", full)


def test_a_full_device_is_called_full_and_not_unable_to_run_kernels(full_device):
    assert module._device().found.startswith("a GPU (compute capability 9.0, none of 80.0 GiB free)")
    found = module._triton()
    assert found.found == "not tried: no memory left on the device"
    assert found.problem == "the device's memory is full: end what else runs on it, and ask again"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device_a_kernel_has_run_and_its_error_is_told():
    assert re.match(r"run here, largest error \d", doctor()["Triton kernels"])


# ----------------------------------------------------------------------------------------------------- memory
@pytest.mark.parametrize(
    ("size", "limit", "found", "low"),
    [
        (16, None, "16.0 GiB, no limit, 3.0 GiB free", False),
        (16, 2, "16.0 GiB, limited to 2.0 GiB (container or ulimit), 3.0 GiB free", True),
        (2, 8, "2.0 GiB, limited to 8.0 GiB (container or ulimit), 3.0 GiB free", True),
        (None, None, "size unknown, no limit, 3.0 GiB free", False),
        (None, 2, "size unknown, limited to 2.0 GiB (container or ulimit), 3.0 GiB free", True),
    ],
)
def test_memory_is_shown_with_the_smallest_limit_and_little_of_it_is_a_problem(
    size, limit, found, low, monkeypatch
):
    monkeypatch.setattr(module, "machine_bytes", lambda: size and size * GIB)
    monkeypatch.setattr(module, "limit_bytes", lambda: limit and limit * GIB)
    monkeypatch.setattr(module, "free_bytes", lambda _device: 3 * GIB)
    diagnosis = doctor()
    assert diagnosis["memory"] == found
    assert any("less than 4 GiB of memory" in problem for problem in diagnosis.problems) == low

"""`doctor` tells what a bug report needs, never fails, and gives nobody away."""

from __future__ import annotations

import getpass
import os
import platform
import re
from pathlib import Path

import pytest
import torch

from xaimed_core import doctor as module
from xaimed_core.doctor import GIB, WIDTH, container_limit_bytes, doctor


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device_a_kernel_has_run_and_its_error_is_told():
    assert re.match(r"run here, largest error \d", doctor()["Triton kernels"])


# ---------------------------------------------------------------------------------------------------- cgroups
def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_smallest_limit_above_the_process_counts_in_cgroups_v2(tmp_path):
    write(tmp_path / "self", "0::/pod/container\n")
    write(tmp_path / "fs/pod/container/memory.max", "max\n")
    write(tmp_path / "fs/pod/memory.max", f"{8 * GIB}\n")
    write(tmp_path / "fs/memory.max", f"{16 * GIB}\n")
    assert container_limit_bytes(tmp_path / "fs", tmp_path / "self") == 8 * GIB


def test_a_namespaced_container_sees_its_limit_at_the_root(tmp_path):
    write(tmp_path / "self", "0::/\n")
    write(tmp_path / "fs/memory.max", f"{4 * GIB}\n")
    assert container_limit_bytes(tmp_path / "fs", tmp_path / "self") == 4 * GIB


def test_cgroups_v1_have_their_limit_under_memory_and_a_huge_number_means_none(tmp_path):
    write(tmp_path / "self", "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n")
    write(tmp_path / "fs/memory/docker/abc/memory.limit_in_bytes", f"{2 * GIB}\n")
    write(tmp_path / "fs/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert container_limit_bytes(tmp_path / "fs", tmp_path / "self") == 2 * GIB
    write(tmp_path / "fs/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n")
    assert container_limit_bytes(tmp_path / "fs", tmp_path / "self") is None


def test_a_system_without_cgroups_has_no_limit(tmp_path):
    assert container_limit_bytes(tmp_path / "fs", tmp_path / "self") is None

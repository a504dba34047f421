"""The backend follows the tensor's device; nothing stands in silently; nothing heavy loads at import."""

import subprocess
import sys
from importlib import util

import pytest
import torch

from xaimed_kernels import backends
from xaimed_kernels.backends import choose_backend

A = torch.ones(1, 2, 2, 2)


def test_cpu_tensors_take_the_cpu_path_and_cuda_tensors_triton() -> None:
    assert choose_backend(A, None) == "cpu"
    assert backends._backend_of_device(torch.device("cuda")) == "triton"
    assert choose_backend(A, "reference") == "reference"


def test_a_backend_that_cannot_run_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="takes CUDA tensors, got one on cpu; leave backend out"):
        choose_backend(A, "triton")
    with pytest.raises(ValueError, match="takes CPU tensors, got one on meta"):
        choose_backend(A.to("meta"), "cpu")
    with pytest.raises(ValueError, match="no kernel for tensors on 'meta'"):
        choose_backend(A.to("meta"), None)
    with pytest.raises(ValueError, match="choose one of triton, cpu, reference"):
        choose_backend(A, "fast")


def test_a_missing_triton_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        backends, "find_spec", lambda name: None if name == "triton" else util.find_spec(name)
    )
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'triton>=3\.6'"):
        choose_backend(A, "triton")


def test_float64_on_triton_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(TypeError, match=r"got torch.float64; convert it with \.float\(\)"):
        choose_backend(A.double(), "triton")


def test_neither_import_nor_the_cpu_path_loads_triton_or_numba() -> None:
    program = """
import sys
from xaimed_kernels.operations import OPERATIONS
for operation in OPERATIONS:
    if operation.name != "impute":  # its CPU path is Numba's
        operation.run(operation.cases[0], None, *operation.cases[0].make())
print(sorted({"triton", "numba", "scipy"} & set(sys.modules)))
"""
    paths = [path for path in sys.path if path]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == "[]"

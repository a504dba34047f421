"""Which tests need the machine to themselves: `make test` runs the others on all cores, then these."""

import os
from collections.abc import Generator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

ALONE = (
    "bench/measure/",
    "bench/profile/",
    "bench/running/test_alternate.py",
    "bench/running/test_bench_run.py",
    "bench/trial/",
    "core/process/test_out_of_memory.py",
    "core/process/test_progress.py",
    "core/process/test_threads.py",
)
"""Folders and files, below this one, whose tests take times, measure memory, or load every core themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if gone := [name for name in ALONE if not (here / name).exists()]:
        raise pytest.UsageError(f"tests/conftest.py: ALONE names what is gone: {', '.join(gone)}")
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix().startswith(ALONE):
            item.add_marker(pytest.mark.alone)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """What a file of tests draws while it is imported is the same whatever was imported before it."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _drawn_from_one_seed() -> None:
    """A test that draws weights or images draws the same ones alone, in any order and in any process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _interpreted_loops() -> Generator[None]:
    """Loops in the interpreter of Triton 3.6 and 3.7, which takes ``int()`` of arrays that NumPy 2.4 refuses."""
    interpreting = os.environ.get("TRITON_INTERPRET") == "1"
    if not interpreting or not find_spec("triton") or not version("triton").startswith(("3.6", "3.7")):
        yield
        return
    from triton.runtime import interpreter

    as_shipped = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        as_shipped(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang_tensor", patched)
        yield

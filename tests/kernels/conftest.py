"""Which kernel tests this process can run: an interpreted kernel cannot be compiled in the same process."""

import os
from collections.abc import Generator
from importlib.util import find_spec
from typing import Any

import pytest
import torch

INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"


def _why_not(marker: str) -> str | None:
    """The reason why tests with this marker cannot run here, None where they can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    match marker:
        case "interpret":
            return None if INTERPRETING else "interpreter test: set TRITON_INTERPRET=1"
        case "offline" | "ptx":
            return "compiles kernels: unset TRITON_INTERPRET" if INTERPRETING else None
        case _:
            if INTERPRETING:
                return "GPU test: unset TRITON_INTERPRET"
            return None if torch.cuda.is_available() else "no CUDA device"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in ("interpret", "offline", "ptx", "gpu"):
            if item.get_closest_marker(marker) is not None and (reason := _why_not(marker)):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _executed_as_ptx(request: pytest.FixtureRequest) -> Generator[None]:
    """A test marked ``ptx`` runs its kernels compiled, on the emulator, which must find no fault in them."""
    marker = request.node.get_closest_marker("ptx")
    if marker is None:
        yield
        return
    from xaimed_kernels.emulator import emulating

    with emulating(**marker.kwargs) as emulation:
        yield
    assert list(map(str, emulation.findings)) == []


@pytest.fixture(
    params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("interpret", "ptx")]
)
def triton_on_a_cpu(request: pytest.FixtureRequest) -> str:
    """Once in Triton's interpreter, once compiled and emulated."""
    return request.param


@pytest.fixture
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.empty`` gives NaN (99 for integers): what a kernel forgets to write is seen."""
    empty = torch.empty

    def poisoned(*size: int, **options: Any) -> torch.Tensor:
        memory = empty(*size, **options)
        return memory.fill_(torch.nan if memory.is_floating_point() else 99)

    monkeypatch.setattr(torch, "empty", poisoned)

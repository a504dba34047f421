"""Chunks respect the memory they were given, and shrink when it runs out.

Allocations that really fail: tests/core/process/test_out_of_memory.py.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from xaimed_bench.models import MODELS
from xaimed_core import explain
from xaimed_core.chunks import fastest_rows, in_chunks
from xaimed_core.targets import ClassTargets

CPU = torch.device("cpu")


class PeakBytes(TorchDispatchMode):
    """The most bytes that tensors made inside hold at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        given = {x.untyped_storage().data_ptr() for x in args if isinstance(x, Tensor)}
        for tensor in output if isinstance(output, tuple | list) else (output,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                size = tensor.untyped_storage().nbytes()
                self.live += size
                self.peak = max(self.peak, self.live)
                weakref.finalize(tensor.untyped_storage(), self._freed, size)
        return output

    def _freed(self, size: int) -> None:
        self.live -= size


@pytest.fixture
def model() -> nn.Module:
    body = [nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 3, padding=1), nn.GELU()]
    head = [
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    ]
    return nn.Sequential(*body, *head).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 24, 24)


@pytest.mark.parametrize("bound", [2**20, 2**21, 2**23])
def test_the_peak_stays_below_the_bound_and_the_drops_are_the_same(
    bound: int, model: nn.Module, images: Tensor, watch: Callable
) -> None:
    targets = ClassTargets(torch.zeros(4, dtype=torch.int64))
    free = watch(model, "1", images).drops(targets).drops
    tail = watch(model, "1", images, memory_bytes=bound)
    tail.drops(targets)  # chunks are measured here
    with PeakBytes() as peak:
        bounded = tail.drops(targets).drops
    assert peak.peak <= bound
    torch.testing.assert_close(bounded, free, rtol=1e-4, atol=1e-5 * float(free.abs().max()))


def peak_of(run: Callable[[], object]) -> int:
    with PeakBytes() as peak:
        run()
    return peak.peak


GRADIENT_METHODS = ("gradcam++", "xgradcam", "layercam", "eigengradcam")


def test_five_methods_together_take_no_more_than_four_and_the_bound(model: nn.Module, images: Tensor) -> None:
    bound = 2**20
    explain(model, images, "ablationcam", "1", memory_bytes=bound)  # the tail is checked here
    four = peak_of(lambda: explain(model, images, GRADIENT_METHODS, "1"))
    five = peak_of(
        lambda: explain(model, images, (*GRADIENT_METHODS, "ablationcam"), "1", memory_bytes=bound)
    )
    assert four < five <= four + bound


@pytest.mark.parametrize(("layer", "bound"), [("features.30", 2**25), ("features.28", 2**27)])
def test_the_largest_network_stays_below_a_bound_at_batch_4(layer: str, bound: int, watch: Callable) -> None:
    torch.manual_seed(0)
    model, images = MODELS["vgg16"].build(10).eval(), torch.randn(4, 3, 64, 64)
    tail = watch(model, layer, images, memory_bytes=bound)
    targets = ClassTargets(torch.arange(4))
    assert peak_of(lambda: tail.drops(targets)) <= bound


def test_a_bound_below_a_single_row_is_refused_and_says_how_much_it_takes(
    model: nn.Module, images: Tensor, watch: Callable
) -> None:
    with pytest.raises(ValueError, match=r"one ablation takes \d+ bytes, and 1000 may be taken"):
        watch(model, "1", images, memory_bytes=1000)
    with pytest.raises(ValueError, match="positive number of bytes, got 0"):
        watch(model, "1", images, memory_bytes=0)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_a_chunk_that_runs_out_of_memory_is_halved_and_nothing_is_lost(error: Exception) -> None:
    asked: list[int] = []

    def run(part: slice) -> Tensor:
        asked.append(part.stop - part.start)
        if asked[-1] > 3:
            raise error
        return torch.arange(part.start, part.stop)

    found = torch.cat([rows for _, rows in in_chunks(10, 8, run)])
    assert found.tolist() == list(range(10))
    assert asked[:3] == [8, 4, 2]


def test_other_errors_and_a_single_row_that_does_not_fit_are_raised() -> None:
    def run(message: str) -> Callable[[slice], Tensor]:
        def fail(_part: slice) -> Tensor:
            raise RuntimeError(message)

        return fail

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(in_chunks(10, 8, run("mat1 and mat2 shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="not enough memory"):
        list(in_chunks(10, 8, run("not enough memory")))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fastest_rows(run("mat1 and mat2 shapes cannot be multiplied"), 10, CPU)
    with pytest.raises(RuntimeError, match="not enough memory"):
        fastest_rows(run("not enough memory"), 10, CPU)


def test_a_last_row_that_does_not_fit_is_tried_once() -> None:
    asked: list[slice] = []

    def run(part: slice) -> Tensor:
        asked.append(part)
        if part.stop > 8:
            raise MemoryError
        return torch.empty(0)

    with pytest.raises(MemoryError):
        list(in_chunks(9, 8, run))
    assert asked == [slice(0, 8), slice(8, 9)]


def test_the_fastest_chunk_is_doubled_for_as_long_as_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("xaimed_core.chunks.time.perf_counter", lambda: clock[0])

    def run(part: slice) -> Tensor:
        rows = part.stop
        clock[0] += 1.0 + (0.1 if rows <= 64 else 0.2) * rows
        return torch.empty(0)

    assert fastest_rows(run, 1000, CPU) == 64
    assert fastest_rows(run, 40, CPU) == 32
    assert fastest_rows(run, 3, CPU) == 3


def test_a_measured_chunk_that_runs_out_of_memory_falls_back_to_the_last_that_did_not(monkeypatch) -> None:
    ticks = count()
    monkeypatch.setattr("xaimed_core.chunks.time", SimpleNamespace(perf_counter=lambda: next(ticks)))

    def run(part: slice) -> Tensor:
        if part.stop > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.empty(0)

    assert fastest_rows(run, 1000, CPU) == 16


@pytest.mark.parametrize(("fits", "expected"), [(1, 1), (2, 2), (3, 2), (4, 4), (7, 4)])
def test_a_chunk_that_does_not_fit_is_never_the_fastest(fits: int, expected: int) -> None:
    def run(part: slice) -> Tensor:
        if part.stop > fits:
            raise MemoryError
        time.sleep(0.002)
        return torch.empty(0)

    assert fastest_rows(run, 1000, CPU) == expected


def test_a_chunk_that_fitted_once_and_then_not_again_is_given_up() -> None:
    calls: list[int] = []

    def run(part: slice) -> Tensor:
        calls.append(part.stop)
        if part.stop > (4 if len(calls) == 1 else 2):
            raise MemoryError
        return torch.empty(0)

    assert fastest_rows(run, 1000, CPU) <= 2

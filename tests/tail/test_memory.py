"""Chunks respect the memory they were given, the container's included, and shrink when it runs out."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from xaimed_core import explain
from xaimed_core.models import MODELS
from xaimed_core.tail import memory
from xaimed_core.tail.chunks import fastest_rows, in_chunks
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


@pytest.mark.parametrize("bound", [2**21, 2**23, 2**25])
def test_a_series_stays_below_the_bound(bound: int, images: Tensor, watch: Callable) -> None:
    layers = [nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 96, 1), nn.BatchNorm2d(96), nn.SiLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 4)).eval()
    targets = ClassTargets(torch.zeros(4, dtype=torch.int64))
    free = watch(model, "0", images).drops(targets)
    tail = watch(model, "0", images, memory_bytes=bound)
    with PeakBytes() as peak:
        bounded = tail.drops(targets)
    assert "series" in bounded.route
    assert peak.peak <= bound
    torch.testing.assert_close(
        bounded.drops, free.drops, rtol=1e-4, atol=1e-5 * float(free.drops.abs().max())
    )


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
    with pytest.raises(
        ValueError, match=r"memory_bytes=1000 is less than what one ablation takes; give at least \d+"
    ):
        watch(model, "1", images, memory_bytes=1000)
    with pytest.raises(ValueError, match="positive number of bytes, got 0"):
        watch(model, "1", images, memory_bytes=0)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory")],
)
def test_a_chunk_that_runs_out_of_memory_is_halved_and_nothing_is_lost(error: RuntimeError) -> None:
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


def test_the_fastest_chunk_is_doubled_for_as_long_as_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("xaimed_core.tail.chunks.time.perf_counter", lambda: clock[0])

    def run(part: slice) -> Tensor:
        rows = part.stop
        clock[0] += 1.0 + (0.1 if rows <= 64 else 0.2) * rows
        return torch.empty(0)

    assert fastest_rows(run, 1000, CPU) == 64
    assert fastest_rows(run, 40, CPU) == 32
    assert fastest_rows(run, 3, CPU) == 3


def test_a_measured_chunk_that_runs_out_of_memory_falls_back_to_the_last_that_did_not() -> None:
    def run(part: slice) -> Tensor:
        if part.stop > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.empty(0)

    assert fastest_rows(run, 1000, CPU) == 16


GROUPS = {
    "version 2": (
        "0::/a/b\n",
        {
            "a/memory.max": "1000\n",
            "a/memory.current": "700\n",
            "a/memory.stat": "anon 1\ninactive_file 150\n",
            "a/b/memory.max": "max\n",
            "a/b/memory.current": "600\n",
        },
        450,
    ),
    "version 1": (
        "5:cpu:/x\n4:memory:/not/mounted/here\n",
        {
            "memory/memory.limit_in_bytes": "900\n",
            "memory/memory.usage_in_bytes": "500\n",
            "memory/memory.stat": "total_inactive_file 0\n",
        },
        400,
    ),
    "no limit": ("0::/\n", {"memory.max": "max\n", "memory.current": "5\n"}, None),
}


@pytest.mark.parametrize("name", GROUPS)
def test_the_containers_limit_is_found(name: str, tmp_path: Path) -> None:
    membership, files, free = GROUPS[name]
    (tmp_path / "cgroup").write_text(membership)
    for file, text in files.items():
        (tmp_path / "sys" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / file).write_text(text)
    found = list(memory.container_free_bytes(tmp_path / "cgroup", tmp_path / "sys"))
    assert found == ([] if free is None else [free])


def test_half_of_what_is_free_is_taken_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_free_bytes", lambda: 10**9)
    monkeypatch.setattr(memory, "container_free_bytes", lambda: iter([4 * 10**8]))
    assert memory.memory_bound(CPU, None) == 2 * 10**8
    assert memory.memory_bound(CPU, 123) == 123

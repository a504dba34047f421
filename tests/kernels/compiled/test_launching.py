"""What is recorded for compilation without a GPU is what Triton's own launcher would compile."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch

from xaimed_kernels import launching
from xaimed_kernels.gradient_maps.cases import THREE
from xaimed_kernels.inputs import Activations

pytestmark = pytest.mark.offline


class PretendedDriver:
    """As much of a CUDA driver as compiling needs."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    import triton

    monkeypatch.setattr(triton.runtime.driver, "_active", PretendedDriver())


@pytest.fixture
def compiled(
    pretended: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[tuple[Any, launching.KernelCase]]]:
    """Every launch, compiled by Triton's launcher instead of run, beside its record."""
    from xaimed_kernels.gradient_maps import launch as gradient_launch
    from xaimed_kernels.principal_map import launch as principal_launch
    from xaimed_kernels.rescale_maps import launch as rescale_launch
    from xaimed_kernels.weighted_map import launch as weighted_launch

    found: list[tuple[Any, launching.KernelCase]] = []

    def compile_instead(kernel, programs, *arguments, warps, stages=1, **constants):
        options = {"num_warps": warps, "num_stages": stages, **constants}
        built = [kernel.run(*arguments, grid=(programs,), warmup=True, **options) for _ in range(2)]
        assert built[0] is built[1], "the second launch compiles again"
        found.append((built[0], launching._case(kernel, arguments, constants, warps, stages)))

    for module in (gradient_launch, principal_launch, rescale_launch, weighted_launch):
        monkeypatch.setattr(module, "launch", compile_instead)
    yield found
    for _, case in found:
        case.kernel.device_caches.clear()  # a real device must not meet what was compiled for the pretended one


def test_recorded_configurations_are_those_of_tritons_launcher(compiled) -> None:
    from xaimed_kernels.gradient_maps.launch import gradient_maps_triton
    from xaimed_kernels.principal_map.launch import principal_map_triton
    from xaimed_kernels.rescale_maps.launch import rescale_maps_triton
    from xaimed_kernels.weighted_map.launch import weighted_map_triton

    for layout in ("contiguous", "channels_last", "expanded"):
        a, g = Activations((2, 40, 7, 7)).make(), Activations((2, 40, 7, 7), layout).make()
        gradient_maps_triton(a, g, THREE)
    weighted_map_triton(a, g[:, :, 0, 0])
    principal_map_triton(a[:, :9], None)
    rescale_maps_triton((a[:, 0], a[:, 1, :1, :1]), (32, 33), 1e-7)
    assert len(compiled) == 3 + 1 + 4 + 2
    for built, case in compiled:
        assert dict(built.src.signature) == dict(case.signature)
        assert dict(built.src.constants) == dict(case.constants)
        assert {path for path, known in built.src.attrs.items() if known} == set(case.divisible)
        assert (built.metadata.num_warps, built.metadata.num_stages) == (case.warps, case.stages)


@pytest.fixture
def variants(pretended: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, str]]]:
    """What Triton's launcher would compile for the imputation's launches: what it keeps a kernel's variants by."""
    from xaimed_kernels.impute import launch as impute_launch

    found: set[tuple[str, str]] = set()
    kernels: list[Any] = []

    def bind(kernel, programs, *arguments, warps, stages=1, **constants):
        kernels.append(kernel)
        binder = kernel.device_caches[0][-1]
        _, specialisation, options = binder(*arguments, **constants, num_warps=warps, num_stages=stages)
        case = launching._case(kernel, arguments, constants, warps, stages)
        known = [None if kind == "constexpr" else kind for kind, _ in specialisation]
        recorded = [None if kind == "constexpr" else kind for kind in case.signature.values()]
        assert known == recorded
        aligned = {(place,) for place, (_, value) in enumerate(specialisation) if value == "D"}
        assert aligned == set(case.divisible)
        found.add((kernel.__name__, f"{specialisation} {options}"))

    monkeypatch.setattr(impute_launch, "launch", bind)
    yield found
    for kernel in kernels:
        kernel.device_caches.clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sides", [(224, 224), (512, 512), (63, 65), (9, 12), (1, 40)], ids=str)
def test_a_size_of_image_compiles_at_most_12_kernels_whatever_the_batch(
    variants: set[tuple[str, str]], sides: tuple[int, int], dtype: torch.dtype
) -> None:
    from xaimed_kernels.impute.launch import impute_triton

    most = 4 if sides == (512, 512) else 33
    for images, channels, masks in product((1, 2, 3, 8, 16, 32), (1, 2, 3, 16), (1, 3, 16)):
        if images * channels * masks <= 3 * most:
            keep = torch.empty(images, masks, *sides, dtype=torch.bool)
            batch = torch.empty(images + 1, channels, *sides, dtype=dtype)
            impute_triton(batch[:-1], keep, 1e-4)
            impute_triton(batch[1:], keep, 1e-4)  # of odd sides, it begins between two multiples of 16 bytes
    assert 9 <= len(variants) <= 12, sorted(variants)

"""Every kernel compiles for every GPU, without one, into something that can be launched there."""

import re
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import xaimed_kernels
from tests.kernels.gradient_maps.test_triton_formulas import METHOD_FORMULAS
from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.launching import KernelCase, recording
from xaimed_kernels.offline import TARGETS, Architecture, compile_offline, offline_cases
from xaimed_kernels.operations import OPERATIONS

pytestmark = pytest.mark.offline

SHARED_KIB: dict[Architecture, int] = {
    75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99, "gfx942": 64,
}  # fmt: skip
"""Shared memory that one program may take (CUDA programming guide, technical specifications; CDNA 3 ISA)."""

OLDER = version("triton").startswith(("3.6", "3.7"))
"""Its ptxas spills more of the largest tile on sm_120: 488 bytes."""
SPILLED_BYTES = {"gradient_maps_kernel": 512 if OLDER else 256, "top_eigenvector_kernel": 512}
"""Of a thread, at most; 64 elsewhere. A channel of 112 x 112 and its sums do not fit 1024 threads of 64 registers,
nor do rows of a 4096 x 4096 Gram matrix; what is over stays in L1 (README of the operations)."""


@cache
def all_cases() -> tuple[KernelCase, ...]:
    return tuple(case for cases in offline_cases().values() for case in cases)


def share_of(target: Architecture) -> list[KernelCase]:
    """Each configuration goes to one target in turn, and the first of each kernel to all of them."""
    turn = TARGETS.index(target)
    first = {case.kernel.__name__: case for case in reversed(all_cases())}
    shared = [case for i, case in enumerate(all_cases()) if i % len(TARGETS) == turn]
    return list({case.name: case for case in (*first.values(), *shared)}.values())


def assert_launchable(case: KernelCase, target: Architecture) -> None:
    facts = compile_offline(case, target)
    lanes = 64 if isinstance(target, str) else 32
    assert facts.instructions > 0, (case.name, facts)
    assert 0 < facts.registers * case.warps * lanes <= 2**16 * (lanes // 32) * 2, (case.name, facts)
    assert facts.shared_bytes <= SHARED_KIB[target] * 1024, (case.name, facts)
    assert facts.spilled_bytes <= SPILLED_BYTES.get(case.kernel.__name__, 64), (case.name, facts)


@pytest.mark.parametrize("target", TARGETS)
def test_kernels_compile_into_what_the_target_can_launch(target: Architecture) -> None:
    share = share_of(target)
    assert len(share) >= len(all_cases()) // len(TARGETS)
    for case in share:
        assert_launchable(case, target)


def test_no_program_has_more_threads_than_a_gpu_takes() -> None:
    assert all(case.warps * 64 <= 1024 for case in all_cases()), "AMD's warps have 64 lanes"


@pytest.mark.parametrize("target", TARGETS)
def test_every_methods_formula_compiles(target: Architecture) -> None:
    with recording() as launches:
        a = torch.empty(8, 512, 7, 7, device="meta")
        gradient_maps(a, a, METHOD_FORMULAS, backend="triton")
    assert_launchable(launches[0], target)


def test_each_operation_and_each_of_its_kernels_is_among_the_cases() -> None:
    assert set(offline_cases()) == {operation.name for operation in OPERATIONS}
    written = {
        name
        for operation in OPERATIONS
        for file in (Path(xaimed_kernels.__path__[0]) / operation.name).glob("kernel*.py")
        for name in re.findall(r"^def (\w+_kernel)\(", file.read_text(), re.MULTILINE)
    }
    assert {case.kernel.__name__ for case in all_cases()} == written


def test_names_tell_configurations_apart() -> None:
    names = [case.name for case in all_cases()]
    assert len(set(names)) == len(names)


def test_recording_launches_nothing_and_ends() -> None:
    a = torch.empty(1, 2, 2, 2, device="meta")
    with recording() as launches:
        gradient_maps(a, a, METHOD_FORMULAS[:1], backend="triton")
    assert len(launches) == 1
    with pytest.raises(ValueError, match="takes CUDA tensors"):
        gradient_maps(a, a, METHOD_FORMULAS[:1], backend="triton")

"""Every operation: what runs it, on which inputs it is tested, compiled and timed, and what it must do at least.

To add one, write its folder and name it here: offline compilation, the profile, benches and tests go over `OPERATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, final

from torch import Tensor

from xaimed_kernels.gradient_maps import cases as gradient_cases
from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.impute import cases as impute_cases
from xaimed_kernels.impute import impute
from xaimed_kernels.principal_map import cases as principal_cases
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.rescale_maps import cases as rescale_cases
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_kernels.weighted_map import cases as weighted_cases
from xaimed_kernels.weighted_map import weighted_map

Case = (
    gradient_cases.Case | weighted_cases.Case | principal_cases.Case | rescale_cases.Case | impute_cases.Case
)
"""Inputs of an operation and its settings; the ``str`` of one is its name in stored results."""


@final
@dataclass(frozen=True)
class Operation:
    """One operation. ``run(case, backend, *inputs)``: its maps (or images); ``flops(case)``: of the algorithm, about.

    ``cases`` are for tests, ``bench_cases`` are timed, and both are compiled for every GPU, unless ``compiled`` names
    others.
    """

    name: str
    run: Callable[..., Tensor]
    cases: tuple[Case, ...]
    bench_cases: tuple[Case, ...]
    flops: Callable[[Any], float]
    compiled: tuple[Case, ...] = ()

    def to_compile(self) -> tuple[Case, ...]:
        """The cases whose launches are compiled for every GPU."""
        return self.compiled or (*self.cases, *self.bench_cases)


def images_in(case: Case) -> int:
    """How many images a case holds."""
    first = case.make("meta")[0]
    assert first is not None
    return len(first)


def moved_bytes(*tensors: Tensor | None) -> int:
    """The bytes that a fully fused operation with these inputs and outputs must move: each once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


def _gram_flops(case: principal_cases.Case) -> float:
    """Half of a symmetric Gram matrix, and 32 products of it with a vector."""
    n, channels, *sides = case.activations.shape
    d, k = sorted((channels, prod(sides)))
    return n * (d * d * k + 64.0 * d * d)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "gradient_maps",
        lambda case, backend, a, g: gradient_maps(a, g, case.formulas, backend=backend).maps,
        gradient_cases.CASES,
        gradient_cases.BENCH_CASES,
        # about 10 for each value and formula (README of the operation)
        lambda case: 10.0 * case.activations.values * len(case.formulas),
    ),
    Operation(
        "weighted_map",
        lambda case, backend, a, w: weighted_map(a, w, backend=backend),
        weighted_cases.CASES,
        weighted_cases.BENCH_CASES,
        lambda case: 2.0 * case.activations.values,
    ),
    Operation(
        "principal_map",
        lambda case, backend, a, w: principal_map(a, w, backend=backend),
        principal_cases.CASES,
        principal_cases.BENCH_CASES,
        _gram_flops,
        compiled=(*principal_cases.CASES, *principal_cases.BENCH_CASES, principal_cases.LARGEST),
    ),
    Operation(
        "rescale_maps",
        lambda case, backend, *raws: rescale_maps(raws, case.size, eps=case.eps, backend=backend).maps,
        rescale_cases.CASES,
        rescale_cases.BENCH_CASES,
        # about 20 a pixel, in each of two passes
        lambda case: 40.0 * case.images * prod(case.size),
    ),
    Operation(
        "impute",
        lambda case, backend, images, keep: impute(images, keep, tol=case.tol, backend=backend),
        impute_cases.CASES,
        impute_cases.BENCH_CASES,
        # about 450 a pixel and channel: 3 cycles of four sweeps, a residual and the coarser grids
        lambda case: 450.0 * case.values,
        compiled=impute_cases.CASES,
    ),
)

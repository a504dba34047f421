"""What share of a GPU's memory bandwidth each CAM kernel reaches: beside eager torch, and beside a copy.

The bytes of an operation are those that a fully fused one must move: each input once, each output once, whatever
the kernel really moves. The column "forward" is a device-to-device copy of as many bytes, so that one over "ours,
in forwards" is the share of the copy bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from xaimed_bench.measure.fidelity import of_values
from xaimed_bench.profile.kernels import moved_bytes
from xaimed_kernels.gradient_maps import cases as gradient_cases
from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.principal_map import cases as principal_cases
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.rescale_maps import cases as rescale_cases
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_kernels.weighted_map import cases as weighted_cases
from xaimed_kernels.weighted_map import weighted_map

if not torch.cuda.is_available():
    pytest.skip("kernels are measured on CUDA devices, and there is none", allow_module_level=True)

BUDGET = 1e-5
"""Largest error over the largest value of the float64 definition."""


def named(cases: Iterable[Any]) -> dict[str, Any]:
    return {str(case): case for case in cases}


GRADIENT = named(gradient_cases.BENCH_CASES)
WEIGHTED = named(weighted_cases.BENCH_CASES)
PRINCIPAL = named(principal_cases.BENCH_CASES)
RESCALE = named(rescale_cases.BENCH_CASES)


@pytest.mark.parametrize("case", GRADIENT)
def bench_gradient_maps(measure, case):
    activations, gradients = GRADIENT[case].make("cuda")
    formulas = GRADIENT[case].formulas
    compare(
        measure,
        lambda backend, a, g: gradient_maps(a, g, formulas, backend=backend).maps,
        activations,
        gradients,
    )


@pytest.mark.parametrize("case", WEIGHTED)
def bench_weighted_map(measure, case):
    compare(measure, lambda backend, a, w: weighted_map(a, w, backend=backend), *WEIGHTED[case].make("cuda"))


@pytest.mark.parametrize("case", PRINCIPAL)
def bench_principal_map(measure, case):
    compare(
        measure, lambda backend, a, w: principal_map(a, w, backend=backend), *PRINCIPAL[case].make("cuda")
    )


@pytest.mark.parametrize("case", RESCALE)
def bench_rescale_maps(measure, case):
    raws = [raw[torch.isfinite(raw).flatten(1).all(1)] for raw in RESCALE[case].make("cuda")]
    size = RESCALE[case].size
    compare(measure, lambda backend, *raws: rescale_maps(raws, size, backend=backend).maps, *raws)


def compare(measure: Callable[..., None], run: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Ours and eager torch, both checked against float64, beside a copy of the bytes that must be moved."""
    result = run(None, *inputs)
    moved = moved_bytes(*inputs, result)
    source = torch.empty(moved // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    measure(
        lambda: run(None, *inputs),
        against=lambda: run("reference", *inputs),
        what="eager torch",
        truth=lambda: run("reference", *(x.double() for x in inputs)),
        judge=lambda found, expected: of_values(found, expected, name="maps, in shares of the largest value"),
        allowed=BUDGET,
        forward=lambda: target.copy_(source),
        images=len(inputs[0]),
        notes=lambda _: [f"{moved} bytes must be moved; the forward column copies as many"],
    )

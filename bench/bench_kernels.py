"""What share of a GPU's memory bandwidth each CAM kernel reaches: beside eager torch, and beside a copy.

The bytes of an operation are those that a fully fused one must move: each input once, each output once, whatever
the kernel really moves. The column "forward" is a device-to-device copy of as many bytes, so that one over
xaimed's "forwards" is the share of the copy bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from xaimed_bench.measure import of_values
from xaimed_kernels.operations import OPERATIONS, Case, Operation, moved_bytes

if not torch.cuda.is_available():
    pytest.skip("kernels are measured on CUDA devices, and there is none", allow_module_level=True)

BUDGET = 1e-5
"""Largest error over the largest value of the float64 definition."""


def make_bench(operation: Operation) -> Callable[..., None]:
    cases = {str(case): case for case in operation.bench_cases}

    @pytest.mark.parametrize("case", cases)
    def bench(measure, case):
        compare(measure, operation, cases[case])

    return bench


# one function for each, for a case is known by its function's name; the imputation has bench_solver.py
globals().update({f"bench_{op.name}": make_bench(op) for op in OPERATIONS if op.name != "impute"})


def compare(measure: Callable[..., None], operation: Operation, case: Case) -> None:
    """xaimed and eager torch, both checked against float64, beside a copy of the bytes that must be moved."""
    inputs = case.make("cuda")
    run = partial(operation.run, case)
    moved = moved_bytes(*inputs, run(None, *inputs))
    source = torch.empty(moved // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    measure(
        lambda: run(None, *inputs),
        against=lambda: run("reference", *inputs),
        what="eager torch",
        truth=lambda: run("reference", *(None if x is None else x.double() for x in inputs)),
        judge=partial(of_values, name="maps, in shares of the largest value"),
        allowed=BUDGET,
        forward=lambda: target.copy_(source),
        images=len(inputs[0]),
        notes=lambda _: [f"{moved} bytes must be moved; the forward column copies as many"],
    )

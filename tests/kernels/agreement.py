"""What "agrees with the float64 definition" means, and on which backend and device a case runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor

from xaimed_kernels.inputs import OnActivations
from xaimed_kernels.operations import Case, Operation, moved_bytes
from xaimed_kernels.rescale_maps import cases as rescale_cases

BUDGET = 1e-5
"""Largest error over the largest value of the float64 result on the same inputs.

Kernels widen bfloat16 and float16 exactly and sum in float32, so that the budget is one for all dtypes: float32
rounds by 6e-8, and a sum of 4096 terms in any order, or an eigenvector whose eigenvalue is twice the next, stays
within about a hundred roundings.
"""


INTERPRETED = (
    pytest.mark.interpret,
    # the interpreter computes in NumPy, which warns where a GPU gives NaN or infinity and a kernel means it
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
)


def runs(cases: Iterable[Any], *, reference: bool = False) -> list[Any]:
    """Each case on the CPU path, and on Triton in the interpreter and emulator (where small enough) and on a GPU.

    ``reference``: on the definition, too, where a test has another oracle.
    """
    params: list[Any] = []
    for case in cases:
        params.append(pytest.param(case, "cpu", "cpu", id=f"{case}-cpu"))
        if reference:
            params.append(pytest.param(case, "reference", "cpu", id=f"{case}-reference"))
        if interpretable(case):
            params.append(pytest.param(case, "triton", "cpu", id=f"{case}-interpreter", marks=INTERPRETED))
            params.append(pytest.param(case, "triton", "cpu", id=f"{case}-ptx", marks=pytest.mark.ptx))
        params.append(pytest.param(case, "triton", "cuda", id=f"{case}-gpu", marks=pytest.mark.gpu))
    return params


def interpretable(case: Case) -> bool:
    """Small enough for Triton's interpreter, which a solution takes minutes."""
    match case:
        case rescale_cases.Case():
            return case.images <= 16 and torch.Size(case.size).numel() <= 2_000
        case OnActivations():
            return case.activations.values <= 20_000 and case.activations.shape[0] <= 16
        case _:
            return False


def small(operation: Operation) -> list[Case]:
    """Two of an operation's cases, neither large nor trivial: for what is not tried on all of them."""
    sizes = {case: moved_bytes(*case.make("meta")) for case in operation.cases}
    return sorted((case for case, size in sizes.items() if size <= 250_000), key=lambda case: sizes[case])[
        -2:
    ]


def double(value: Tensor | None) -> Tensor | None:
    """The same values in float64 on the CPU, for the definition."""
    return None if value is None else value.cpu().double()


def assert_agrees(result: Tensor, definition: Tensor, budget: float = BUDGET) -> None:
    """Same shape, float32, and nowhere further apart than ``budget`` of the definition's largest value."""
    assert result.shape == definition.shape
    assert result.dtype == torch.float32
    assert definition.dtype == torch.float64
    largest = definition.abs().max().item()
    error = (result.cpu().double() - definition).abs().max().item()
    assert error <= budget * largest, f"largest error {error:.2e}, largest value {largest:.2e}"

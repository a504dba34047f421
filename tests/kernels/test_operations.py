"""What holds of every operation: it stands in the table, gives the same bits each time and leaves its inputs alone."""

from pathlib import Path

import pytest
import torch

import xaimed_kernels
from tests.kernels.agreement import runs, small
from xaimed_kernels.operations import OPERATIONS, moved_bytes

pytestmark = pytest.mark.usefixtures("poisoned_memory")

RUNS = [
    pytest.param(operation, *run.values, id=f"{operation.name}-{run.id}", marks=run.marks)
    for operation in OPERATIONS
    for run in runs(small(operation))
]


def test_every_folder_of_kernels_is_an_operation():
    folders = {file.parent.name for file in Path(xaimed_kernels.__path__[0]).glob("*/kernel.py")}
    assert {operation.name for operation in OPERATIONS} == folders


@pytest.mark.parametrize(("operation", "case", "backend", "device"), RUNS)
def test_the_same_input_gives_the_same_bits_and_stays_as_it_was(operation, case, backend, device):
    inputs, before = case.make(device), case.make(device)
    first, second = (operation.run(case, backend, *inputs) for _ in range(2))
    assert torch.equal(first.nan_to_num(2.0), second.nan_to_num(2.0))
    for given, kept in zip(inputs, before, strict=True):
        assert given is kept is None or torch.equal(given.nan_to_num(2.0), kept.nan_to_num(2.0))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_cases_have_names_of_their_own_and_a_smaller_one_is_smaller(operation):
    for cases in (operation.cases, operation.bench_cases):
        assert len({str(case) for case in cases}) == len(cases) > 0
    for case in operation.bench_cases:
        whole, one = (moved_bytes(*c.make("meta")) for c in (case, case.at_most(1)))
        assert 0 < one < whole
        assert operation.flops(case) > operation.flops(case.at_most(1)) > 0

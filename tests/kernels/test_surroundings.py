"""An operation's result is its own, whatever mode the caller is in: autocast, autograd, inference."""

import warnings
from functools import partial

import pytest
import torch

from tests.kernels.agreement import BUDGET, small
from tests.waits import watching_waits
from xaimed_kernels.operations import OPERATIONS

CALLS = {
    **{op.name: (partial(op.run, small(op)[-1], None), small(op)[-1]) for op in OPERATIONS},
    **{
        f"{op.name}, definition": (partial(op.run, small(op)[-1], "reference"), small(op)[-1])
        for op in OPERATIONS
    },
}
"""By name, a call and the case whose tensors it takes."""
OURS = [op.name for op in OPERATIONS]
UNREAD = [name for name in OURS if name != "impute"]
"""The imputation reads one number back at its end."""
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CALLS)
def test_autocast_changes_no_bit(name: str, device: str) -> None:
    call, case = CALLS[name]
    inputs = case.make(device)
    expected = call(*inputs)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert same(call(*inputs), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CALLS)
def test_results_carry_no_graph_and_inference_mode_gives_the_same(name: str, device: str) -> None:
    call, case = CALLS[name]
    inputs = case.make(device)
    expected = call(*inputs)
    tracked = call(
        *(x.clone().requires_grad_() if x is not None and x.is_floating_point() else x for x in inputs)
    )
    assert not tracked.requires_grad
    assert same(tracked, expected)
    with torch.inference_mode():
        assert same(call(*case.make(device)), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OURS)
def test_tf32_flags_cost_no_digit(name: str) -> None:
    call, case = CALLS[name]
    inputs = case.make("cuda")
    expected = call(*inputs)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        error = (call(*inputs) - expected).nan_to_num().abs().max()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert error <= BUDGET * expected.nan_to_num().abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("name", UNREAD)
def test_nothing_waits_for_the_device(name: str) -> None:
    call, case = CALLS[name]
    inputs = case.make("cuda")
    call(*inputs)  # compiling may wait
    with watching_waits() as waits:
        call(*inputs)
    assert waits == []


PROTOTYPE = (
    "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations"
)
WAIT = "called a synchronizing CUDA operation (Triggered internally at CUDAFunctions.cpp:149.)"


@pytest.mark.parametrize("modes_before", [0, 1])
def test_only_a_wait_counts_as_one(monkeypatch: pytest.MonkeyPatch, modes_before: int) -> None:
    """Torch says once in a process that the mode is a prototype: neither a wait nor a failure."""
    once = iter([PROTOTYPE][modes_before:])
    monkeypatch.setattr(
        torch.cuda, "set_sync_debug_mode", lambda mode: [warnings.warn(text, stacklevel=2) for text in once]
    )
    with watching_waits() as waits:
        pass
    assert waits == []
    with watching_waits() as waits:
        warnings.warn(WAIT, stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    assert len(waits) == 1
    assert "test_surroundings" in waits[0]


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """To the bit, NaN like NaN."""
    return torch.equal(found.isnan(), expected.isnan()) and torch.equal(
        found.nan_to_num(), expected.nan_to_num()
    )

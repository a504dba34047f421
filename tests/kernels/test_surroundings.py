"""An operation's result is its own, whatever mode the caller is in: autocast, autograd, inference."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.kernels.agreement import BUDGET
from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.gradient_maps.cases import THREE
from xaimed_kernels.inputs import Activations
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_kernels.weighted_map import weighted_map

Operation = Callable[[Tensor, Tensor], Tensor]

OPERATIONS: dict[str, Operation] = {
    "gradient_maps": lambda a, g: gradient_maps(a, g, THREE).maps,
    "weighted_map": lambda a, g: weighted_map(a, g[:, :, 0, 0]),
    "principal_map": principal_map,
    "principal_map_of_the_definition": lambda a, g: principal_map(a, g, backend="reference"),
    "rescale_maps": lambda a, g: rescale_maps(a[:, 0], (9, 9)).maps,
}
OURS = ("gradient_maps", "weighted_map", "principal_map", "rescale_maps")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def inputs(device: str) -> tuple[Tensor, Tensor]:
    shape = (2, 70, 5, 4)
    return Activations(shape).make(device, seed=1), Activations(shape, content="signed").make(device, seed=2)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_autocast_changes_no_bit(operation: Operation, device: str) -> None:
    a, g = inputs(device)
    expected = operation(a, g)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert torch.equal(operation(a, g), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_results_carry_no_graph_and_inference_mode_gives_the_same(operation: Operation, device: str) -> None:
    a, g = inputs(device)
    expected = operation(a, g)
    tracked = operation(a.clone().requires_grad_(), g.clone().requires_grad_())
    assert not tracked.requires_grad
    assert torch.equal(tracked, expected)
    with torch.inference_mode():
        assert torch.equal(operation(*inputs(device)), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("name", OURS)
def test_tf32_flags_cost_no_digit(name: str) -> None:
    operation, (a, g) = OPERATIONS[name], inputs("cuda")
    expected = operation(a, g)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        error = (operation(a, g) - expected).abs().max()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert error <= BUDGET * expected.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("name", OURS)
def test_nothing_waits_for_the_device(name: str) -> None:
    operation, (a, g) = OPERATIONS[name], inputs("cuda")
    operation(a, g)  # compiling may wait
    torch.cuda.set_sync_debug_mode("error")
    try:
        operation(a, g)
    finally:
        torch.cuda.set_sync_debug_mode("default")

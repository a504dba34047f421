"""A tail is checked once and remembered for as long as its model lives and stays what it was."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import class_drops
from xaimed_core import explain
from xaimed_core.tail import decide
from xaimed_core.targets import ClassTargets


def network() -> nn.Module:
    body = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()


@pytest.fixture
def model() -> nn.Module:
    return network()


def forwards_of(model: nn.Module) -> list[int]:
    batches: list[int] = []
    model.register_forward_pre_hook(lambda _module, inputs: batches.append(len(inputs[0])))
    return batches


def test_the_self_check_runs_once_whatever_the_batch(model: nn.Module, watch: Callable) -> None:
    batches = forwards_of(model)
    watch(model, "1", torch.randn(4, 3, 8, 8))
    assert batches == [4, 3]
    for n in (4, 1, 2, 7):
        watch(model, "1", torch.randn(n, 3, 8, 8))
    assert batches == [4, 3, 4, 1, 2, 7]


@pytest.mark.filterwarnings("ignore:.* by each channel's sum")
@pytest.mark.parametrize("order", [["0", "1", "3"], ["3", "0", "1"]], ids=str)
def test_several_layers_and_methods_share_one_forward(order: list[str], model: nn.Module) -> None:
    images, methods = torch.randn(4, 3, 8, 8), ("xgradcam", "ablationcam")
    alone = {layer: explain(model, images, methods, layer) for layer in order}
    batches = forwards_of(model)
    together = explain(model, images, methods, order)
    assert batches == [4]
    for method in methods:
        for layer, weights in zip(order, together.weights[method], strict=True):
            torch.testing.assert_close(weights, alone[layer].weights[method], rtol=0, atol=1e-6)


@pytest.mark.parametrize("other", ["size", "precision", "layer"])
def test_another_shape_precision_or_layer_is_checked_again(
    other: str, model: nn.Module, watch: Callable
) -> None:
    watch(model, "1", torch.randn(4, 3, 8, 8))
    batches = forwards_of(model)
    if other == "precision":
        model.double()
    size, dtype = (9 if other == "size" else 8), (torch.float64 if other == "precision" else torch.float32)
    watch(model, "3" if other == "layer" else "1", torch.randn(4, 3, size, size, dtype=dtype))
    assert batches == [4, 3]


def test_new_weights_are_seen_and_a_changed_network_is_planned_again(
    model: nn.Module, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    images, every = torch.randn(2, 3, 8, 8), list(range(6))
    class_drops(watch(model, "1", images))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.7)
    exact = logit_drops(model, "1", images, channels=every)
    assert relative_error(class_drops(watch(model, "1", images)).drops, exact) <= 1e-5
    model[3] = nn.Tanh()
    exact = logit_drops(model, "1", images, channels=every)
    found = class_drops(watch(model, "1", images))
    assert "tanh" in str(found.route)
    assert relative_error(found.drops, exact) <= 1e-5


def test_decisions_go_with_their_model(watch: Callable) -> None:
    model = network()
    class_drops(watch(model, "1", torch.randn(2, 3, 8, 8)))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_no_more_than_so_many_decisions_are_kept(model: nn.Module, watch: Callable) -> None:
    for size in range(8, 8 + decide.REMEMBERED + 3):
        watch(model, "3", torch.randn(2, 3, size, 8))
    assert len(decide._remembered[model][model[3]]) == decide.REMEMBERED


def test_the_same_images_give_the_same_bits(model: nn.Module, watch: Callable) -> None:
    images, targets = torch.randn(3, 3, 8, 8), ClassTargets(torch.tensor([0, 1, 2]))
    first, second = (watch(model, "1", images).drops(targets).drops for _ in range(2))
    assert torch.equal(first, second)


def test_what_does_not_fit_in_one_decision_is_checked_and_kept_apart(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    class Chooses(nn.Module):
        """Runs other operations for one image alone, which give the same."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

        def forward(self, images: Tensor) -> Tensor:
            x = torch.tanh(self.layer(images))
            pooled = x.mean((2, 3)) if len(x) > 1 else (x.sum(3) / x.shape[3]).sum(2) / x.shape[2]
            return self.head(pooled)

    model = Chooses().eval()
    for n in (1, 3, 1, 3):
        images = torch.randn(n, 3, 8, 8)
        tail = watch(model, "layer", images)
        assert class_drops(tail).route.kind == "closed-form"
        exact = logit_drops(model, "layer", images, channels=list(range(6)))
        assert relative_error(class_drops(tail).drops, exact) <= 1e-5
    batches = forwards_of(model)
    watch(model, "layer", torch.randn(3, 3, 8, 8))
    assert batches == [3]

"""Networks written by hand, with heads of several layers and control flow, at trained-size logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from xaimed_bench.data import IMAGENET, phantoms
from xaimed_bench.models import calibrate_on_phantoms, classifier_of
from xaimed_core.tail.run.mechanisms import ByPlan

SIZE = 48


class PerceptronHead(nn.Module):
    """A head of three linear layers over flattened positions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2), nn.BatchNorm2d(16), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 24, 3, stride=2, bias=False), nn.BatchNorm2d(24), nn.GELU())
        self.head = nn.Sequential(nn.Linear(24 * 16, 64), nn.ReLU(inplace=True), nn.Linear(64, 32), nn.Tanh())
        self.classifier = nn.Linear(32, 7)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.body(self.stem(images)), 4)
        return self.classifier(self.head(x.flatten(1)))


class ByHand(nn.Module):
    """A loop over blocks, branches on shapes, squeeze and excitation, concatenated skips, operations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(12 * 2**i, 12 * 2**i, 3, padding=1, groups=3) for i in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(12 * 2**i) for i in range(3))
        self.squeeze = nn.Linear(48, 48)
        self.head = nn.Linear(96, 7)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).relu_()
        for i, (block, norm) in enumerate(zip(self.blocks, self.norms, strict=True)):
            y = norm(block(x))
            y += 0.5 * x
            y = nn.functional.silu(y, inplace=True)
            x = torch.cat([x, y], 1) if i < 2 else y
            if x.shape[-1] > 8:
                x = nn.functional.max_pool2d(x, 2)
        x *= self.squeeze(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.head(torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {"perceptron head": PerceptronHead, "by hand": ByHand}
ROUTES = {
    ("perceptron head", "body"): "delta(1 linear) + replay: relu",
    ("perceptron head", "stem"): "delta(1 conv) + replay: gelu",
    ("by hand", "blocks.2"): "delta(1 linear) + replay: sigmoid",
    ("by hand", "stem"): "delta(1 conv) + replay: silu",
}


@cache
def network(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = NETWORKS[name]().eval()
        calibrate_on_phantoms(model, per_kind=2, size=SIZE)
    with torch.no_grad():
        classifier_of(model).weight.mul_(2)  # the median image has the logit 10, now all do
    return model


@pytest.mark.parametrize(("name", "layer"), ROUTES)
def test_drops_are_exact_at_trained_size_logits(
    name: str, layer: str, watch: Callable, hold_to_the_budget: Callable
) -> None:
    model, images = network(name), IMAGENET.apply(phantoms("skin", 3, size=SIZE, seed=5).pixels)
    tail = watch(model, layer, images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    every = list(range(tail.mechanism.capture.channels))
    route = hold_to_the_budget(tail, model, layer, images, channels=every)
    assert str(route).startswith(ROUTES[name, layer])

"""Every rule carries channels' changes exactly as the definition has them, and is really used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tail.conftest import class_drops
from xaimed_core.tail.run.mechanisms import ByPlan
from xaimed_core.targets import ClassTargets


class Tailed(nn.Module):
    """``layer``, then the operation under test, then a head that is linear in all positions and channels."""

    def __init__(self, operation: Callable[[Tensor, Tensor], Tensor], own: nn.Module | None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 6, 3, padding=1)
        self.own = own
        self.operation = operation
        self.head = nn.LazyLinear(5)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.layer(images)
        skip = torch.sin(images.mean(1, keepdim=True)) + torch.arange(6.0, dtype=images.dtype).view(
            1, 6, 1, 1
        )
        x = self.own(seen) if self.own is not None else self.operation(seen, skip)
        return self.head(x.flatten(1))


WAVES = torch.sin(torch.arange(84.0 * 4)).view(84, 4)
"""Weights of two results for each of 42 entries."""

OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda x, _: F.relu(x),
    "relu_": lambda x, _: F.relu_(x),
    "gelu": lambda x, _: F.gelu(x),
    "silu": lambda x, _: F.silu(x),
    "sigmoid": lambda x, _: torch.sigmoid(x),
    "hardswish": lambda x, _: F.hardswish(x),
    "hardsigmoid": lambda x, _: F.hardsigmoid(x),
    "leaky_relu": lambda x, _: F.leaky_relu(x, 0.2),
    "elu": lambda x, _: F.elu(x),
    "clamp": lambda x, _: x.clamp(-0.3, 0.4),
    "power": lambda x, _: x**3,
    "negation": lambda x, _: -x,
    "sum with a base": lambda x, s: x + s,
    "sum with a base, scaled": lambda x, s: torch.add(x, s, alpha=0.3),
    "difference from a base": lambda x, s: s - x,
    "base, broadcast over channels": lambda x, s: x + s[:, :1],
    "product with a base": lambda x, s: x * s,
    "quotient": lambda x, s: x / (2 + s.abs()),
    "product with itself": lambda x, _: x * x,
    "product with its own pooling": lambda x, _: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "sum with itself": lambda x, _: x + torch.relu(x),
    "where": lambda x, s: torch.where(s > 1, x, s),
    "masked fill": lambda x, s: x.masked_fill(s > 1, 0.5),
    "average pooling": lambda x, _: F.avg_pool2d(x, 2, stride=1, padding=1),
    "maximum pooling": lambda x, _: F.max_pool2d(x, 3, stride=2, padding=1),
    "adaptive average pooling": lambda x, _: F.adaptive_avg_pool2d(x, 3),
    "adaptive maximum pooling": lambda x, _: F.adaptive_max_pool2d(x, 3),
    "mean over positions": lambda x, _: x.mean((2, 3)),
    "mean over rows, axis kept": lambda x, _: x.mean(2, keepdim=True),
    "sum over columns": lambda x, _: x.sum(3),
    "bilinear resize": lambda x, _: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
    "nearest resize": lambda x, _: F.interpolate(x, size=(9, 5)),
    "padding of positions": lambda x, _: F.pad(x, (1, 2, 0, 1), value=3.0),
    "padding of channels": lambda x, _: F.pad(x, (0, 0, 0, 0, 2, 3), value=1.0).relu(),
    "reflected padding": lambda x, _: F.pad(x, (1, 1, 2, 2), mode="reflect"),
    "channels last": lambda x, _: x.permute(0, 2, 3, 1).relu(),
    "tokens": lambda x, _: x.flatten(2).transpose(1, 2).sigmoid(),
    "tokens and back": lambda x, _: (
        x.flatten(2).transpose(1, 2).reshape(-1, 7, 7, 6).permute(0, 3, 1, 2).relu()
    ),
    "flattening": lambda x, _: x.flatten(1).sigmoid(),
    "flattening after concatenation": lambda x, s: (
        torch.cat([s[:, :2].expand(-1, -1, 7, 7), x], 1).flatten(1).relu()
    ),
    "flattening with channels last": lambda x, _: x.permute(0, 2, 3, 1).flatten(1).sigmoid(),
    "flattening with channels last, and a product with a base": lambda x, s: (
        x.permute(0, 2, 3, 1).flatten(1) * s.flatten(1)
    ),
    "flattening with channels in between": lambda x, _: x.transpose(1, 2).flatten(1).sigmoid(),
    "flattening with channels in between, of one axis": lambda x, _: x.transpose(1, 2).flatten(1, 2).relu(),
    "flattening with channels last, of one axis": lambda x, _: x.permute(0, 2, 3, 1).flatten(2).relu(),
    "flattening twice with channels last": lambda x, _: (
        x.permute(0, 2, 3, 1).flatten(2).relu().flatten(1).sigmoid()
    ),
    "flattening with channels last, and back": lambda x, _: (
        x.permute(0, 2, 3, 1).flatten(1).sigmoid().reshape(-1, 7, 7, 6).permute(0, 3, 1, 2).relu()
    ),
    "flattening with channels last, and one axis back": lambda x, _: (
        x.permute(0, 2, 3, 1).flatten(1).sigmoid().unflatten(1, (7, 42)).mean(1).relu()
    ),
    "flattening with channels last after concatenation": lambda x, s: (
        torch.cat([s[:, :2].expand(-1, -1, 7, 7), x, s[:, :1].expand(-1, -1, 7, 7)], 1)
        .permute(0, 2, 3, 1)
        .flatten(1)
        .relu()
    ),
    "flattening with channels last, between bases": lambda x, s: torch.cat(
        [s[:, :2].flatten(1), x.permute(0, 2, 3, 1).flatten(1), s.flatten(1)], 1
    ).sigmoid(),
    "flattening with channels last, padded, and a new axis": lambda x, _: (
        F.pad(x.permute(0, 2, 3, 1).flatten(1), (2, 4)).sigmoid().reshape(-1, 1, 300, 1).relu()
    ),
    "depthwise convolution and batch normalisation of interleaved channels": lambda x, _: F.batch_norm(
        F.conv1d(x.transpose(1, 2).flatten(1, 2), WAVES[:, None, :3].to(x.dtype), groups=42),
        WAVES[:, 0].to(x.dtype),
        WAVES[:, 1].abs().to(x.dtype) + 0.1,
    ).sigmoid(),
    "flattening of frames in the batch": lambda x, _: (
        x.transpose(1, 3).flatten(0, 1).relu().sum(1).unflatten(0, (-1, 7)).flatten(1).sigmoid()
    ),
    "axes of length 1": lambda x, _: x.unsqueeze(2).relu().squeeze(2),
    "selection of a row": lambda x, _: x[:, :, 3].relu(),
    "slice of columns": lambda x, _: x[..., 1:5].relu(),
    "split into halves of rows": lambda x, _: torch.cat([y.relu() for y in x.split([3, 4], 2)], 2),
    "unbound rows": lambda x, _: torch.stack(x.unbind(2), 2).relu(),
    "flip": lambda x, _: x.flip(3).relu(),
    "roll": lambda x, _: x.roll(2, 2).relu(),
    "expansion": lambda x, _: x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4).relu(),
    "concatenation after a base": lambda x, s: torch.cat([s, x], 1).relu(),
    "concatenation before a base": lambda x, s: torch.cat([x, s, s], 1).sigmoid(),
    "concatenation with itself along rows": lambda x, _: torch.cat([x, x.relu()], 2).sigmoid(),
    "concatenation along rows with a base": lambda x, s: torch.cat([x, s], 2).sigmoid(),
    "cast": lambda x, _: x.to(torch.float64).relu().to(x.dtype),
}
MODULES: dict[str, Callable[[], nn.Module]] = {
    "batch normalisation": lambda: nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(inplace=True)),
    "batch normalisation without weights": lambda: nn.Sequential(nn.BatchNorm2d(6, affine=False), nn.ReLU()),
    "instance normalisation": lambda: nn.Sequential(nn.InstanceNorm2d(6), nn.ReLU()),
    "instance normalisation with weights": lambda: nn.Sequential(
        nn.ReLU(), nn.InstanceNorm2d(6, affine=True)
    ),
    "normalisation of groups of one channel": lambda: nn.Sequential(nn.GroupNorm(6, 6), nn.ReLU()),
    "depthwise convolution": lambda: nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.GELU()),
    "depthwise convolution, two each": lambda: nn.Sequential(
        nn.Conv2d(6, 12, 3, stride=2, groups=6), nn.SiLU()
    ),
    "prelu": lambda: nn.PReLU(6),
    "dropout outside training": lambda: nn.Dropout(0.5),
}


def tailed(name: str) -> nn.Module:
    model = Tailed(OPERATIONS[name], None) if name in OPERATIONS else Tailed(lambda x, _: x, MODULES[name]())
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(6)
            module.running_var = torch.rand(6) + 0.5
        elif isinstance(module, nn.InstanceNorm2d | nn.GroupNorm) and module.affine:
            module.weight, module.bias = nn.Parameter(torch.rand(6) + 0.5), nn.Parameter(torch.randn(6))
    with torch.no_grad():
        model.eval()(torch.randn(1, 2, 7, 7))
    return model


@pytest.mark.parametrize("name", [*OPERATIONS, *MODULES])
def test_a_rule_gives_the_drops_of_brute_force_without_rows_before_the_head(
    name: str, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images = tailed(name), torch.randn(2, 2, 7, 7)
    tail = watch(model, "layer", images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    assert tail.mechanism.plan.closed, tail.mechanism.route
    exact = logit_drops(model, "layer", images, channels=list(range(6)))
    found = class_drops(tail)
    assert found.route.kind == "closed-form"
    assert relative_error(found.drops, exact) <= 1e-5


def test_a_network_whose_last_channels_are_its_classes_is_exact(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    tail = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model, images = nn.Sequential(nn.Conv2d(2, 6, 3), tail).eval(), torch.randn(3, 2, 7, 7)
    found = watch(model, "0", images)
    assert isinstance(found.mechanism, ByPlan), found.mechanism.route
    exact = logit_drops(model, "0", images, channels=list(range(6)))
    assert relative_error(class_drops(found).drops, exact) <= 1e-5
    of_classes = found.drops(ClassTargets(torch.tensor([0, 1, 2]))).drops
    assert torch.equal(of_classes.nonzero()[:, 1], torch.tensor([0, 1, 2])), "each class has one channel"

"""Parameters and buffers that were made in inference mode, which autograd and versions know nothing of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.tail.conftest import class_drops
from xaimed_core.targets import ClassTargets


def smooth() -> nn.Module:
    """A first mixing at single positions, then SiLU, pooled."""
    tail = nn.Sequential(
        nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return nn.Sequential(nn.Conv2d(3, 8, 3), *tail, nn.Linear(16, 5))


def closed() -> nn.Module:
    """Linear behind a ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )


def convolutions() -> nn.Module:
    """A first mixing and rows."""
    tail = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten())
    return nn.Sequential(nn.Conv2d(3, 8, 3), *tail, nn.Linear(32, 5))


def branching() -> nn.Module:
    """Python reads what is ablated, so that modules run again."""
    model = convolutions()
    model[3].register_forward_hook(
        lambda _module, _inputs, output: output if output.max() > 0 else output + 1
    )
    return model


def interleaved() -> nn.Module:
    """A head that reads channels last, through one matrix and a second one."""
    tail = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 5))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), tail)
    tail.register_forward_pre_hook(lambda _module, inputs: (inputs[0].permute(0, 2, 3, 1),))
    return model


@pytest.mark.parametrize(
    ("build", "n", "route"),
    [
        (closed, 3, "closed-form"),
        (convolutions, 3, "delta(1 conv) + replay"),
        (smooth, 3, "delta(1 conv) + replay: silu"),
        (interleaved, 3, "delta(1 linear) + replay"),
        (branching, 1, "module rerun, row by row"),
    ],
)
def test_parameters_made_in_inference_mode_change_nothing(
    build: Any,
    n: int,
    route: str,
    watch: Any,
    logit_drops: Any,
    relative_error: Any,
) -> None:
    with torch.inference_mode():
        model = build().eval()
    assert all(p.is_inference() for p in (*model.parameters(), *model.buffers()))
    twin = build().eval()
    twin.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    images = torch.randn(n, 3, 6, 6)
    exact = logit_drops(twin, "0", images, channels=list(range(8)))
    targets = ClassTargets(torch.tensor([0, 3, 4])[:n])
    for _ in range(2):  # decided, then remembered
        tail = watch(model, "0", images)
        assert str(class_drops(tail).route).startswith(route)
        assert relative_error(class_drops(tail).drops, exact) <= 2e-5
        of_targets = exact.take_along_dim(targets.index[:, None, None], 2).squeeze(2)
        assert relative_error(tail.drops(targets).drops, of_targets) <= 2e-5

"""Drops on whole networks with trained-size logits, and the route that each network and layer must take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from xaimed_core.data import IMAGENET, phantoms
from xaimed_core.models import MODELS, build_model, calibrate_on_phantoms
from xaimed_core.tail.mechanisms import ByPlan

CHANNELS = 3
"""Of the strongest channels of a layer: brute force in float64 costs a forward for each."""

TOKENS = {"vit_b_16", "swin_t"}

ROUTES = {
    ("resnet50", "last"): "closed-form: mean, reshape keep channels apart, addmm are linear",
    ("resnet50", "earlier"): "delta(2 convs) + replay: relu",
    ("densenet121", "last"): "closed-form: relu, mean, reshape keep channels apart, addmm are linear",
    ("densenet121", "earlier"): "delta(1 conv) + replay: relu",
    ("vgg16", "last"): "delta(1 linear) + replay: relu",
    ("vgg16", "earlier"): "delta(1 conv) + replay: relu",
    ("efficientnet_b0", "last"): "closed-form: mean, reshape keep channels apart, addmm are linear",
    ("efficientnet_b0", "earlier"): "delta(1 conv) + replay: silu",
    ("resnet18", "last"): "closed-form: mean, reshape keep channels apart, addmm are linear",
    ("resnet18", "earlier"): "delta(2 convs) + replay: relu",
    ("convnext_tiny", "last"): "replay: no rule carries the change of one channel through native_layer_norm",
    (
        "convnext_tiny",
        "earlier",
    ): "replay: no rule carries the change of one channel through native_layer_norm",
    (
        "vit_b_16",
        "last",
    ): "replay: no rule carries the change of one channel through _native_multi_head_attention",
    (
        "vit_b_16",
        "earlier",
    ): "replay: no rule carries the change of one channel through _native_multi_head_attention",
    ("swin_t", "last"): "delta(1 linear) + replay: bmm",
    ("swin_t", "earlier"): "delta(1 linear) + replay: bmm",
    ("mobilenet_v3_small", "last"): "delta(1 linear) + replay: hardswish",
    ("mobilenet_v3_small", "earlier"): "delta(1 conv) + replay: hardswish",
}
CASES = [(name, role) for name, spec in MODELS.items() for role in spec.layers]


def size_of(name: str) -> int:
    return 224 if name == "vit_b_16" else 96


@cache
def network(name: str) -> nn.Module:
    model = build_model(name, calibrate=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        calibrate_on_phantoms(model, per_kind=1, size=size_of(name))
    return model


def images_for(name: str) -> Tensor:
    count = 1 if name == "vit_b_16" else 2
    return IMAGENET.apply(phantoms("skin", count, size=size_of(name), seed=5).pixels)


def test_every_network_of_the_table_has_its_route_fixed() -> None:
    assert set(ROUTES) == set(CASES)


@pytest.mark.parametrize(("name", "role"), CASES)
def test_drops_are_exact_and_take_the_cheapest_route_known(
    name: str, role: str, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images, layer = network(name), images_for(name), MODELS[name].layers[role]
    channel_dim = -1 if name in TOKENS else 1
    tail = watch(model, layer, images, channel_dim=channel_dim)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    activation = tail.mechanism.capture.activation
    channels = (
        activation.movedim(channel_dim, 1).relu().flatten(2).mean(2)[0].argsort(descending=True)[:CHANNELS]
    )

    found = tail.class_drops(channels=channels)
    assert found.route.startswith(ROUTES[name, role]), found.route
    how = {"channels": channels.tolist(), "channel_dim": channel_dim, "activation": activation}
    exact = logit_drops(model, layer, images, **how)
    assert exact.abs().max() > 1e-4
    if found.route.startswith("closed-form"):
        assert relative_error(found.drops, exact) <= 1e-5
    else:
        plain = logit_drops(model, layer, images, **how, dtype=torch.float32)
        error, plain_error = relative_error(found.drops, exact), relative_error(plain, exact)
        assert error <= 3 * plain_error
        assert error <= 2e-4

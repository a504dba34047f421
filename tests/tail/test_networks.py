"""Drops on whole networks with trained-size logits, and the route that each network and layer must take."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tests.sizes import by_size
from tests.tail.conftest import class_drops
from xaimed_bench.data import IMAGENET, phantoms
from xaimed_bench.models import MODELS, build_model, calibrate_on_phantoms, classifier_of
from xaimed_core.tail.run.mechanisms import ByPlan

STRONGEST, OTHERS = 3, 2
"""Channels of a layer: brute force in float64 costs a forward for each."""

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
    ("tf_efficientnet_lite0", "last"): "closed-form: mean, reshape keep channels apart, addmm are linear",
    ("tf_efficientnet_lite0", "earlier"): "delta(1 conv) + replay: hardtanh",
    (
        "tf_efficientnet_lite0",
        "before",
    ): "closed-form: native_batch_norm, hardtanh, mean, reshape keep channels apart",
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
    with torch.no_grad():
        classifier_of(model).weight.mul_(2)  # the median image has the logit 10, now all do
    return model


def images_for(name: str) -> Tensor:
    count = 1 if name == "vit_b_16" else 2
    return IMAGENET.apply(phantoms("skin", count, size=size_of(name), seed=5).pixels)


def test_every_network_of_the_table_has_its_route_fixed() -> None:
    assert set(ROUTES) == set(CASES)


@pytest.mark.parametrize("case", by_size(CASES), ids="-".join)
def test_drops_are_exact_and_take_the_cheapest_route_known(
    case: tuple[str, str], watch: Callable, strongest_and_others: Callable, hold_to_the_budget: Callable
) -> None:
    name, role = case
    model, images, layer = network(name), images_for(name), MODELS[name].layers[role]
    channel_dim = -1 if name in TOKENS else 1
    tail = watch(model, layer, images, channel_dim=channel_dim)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    activation = tail.mechanism.capture.activation
    channels = strongest_and_others(activation, channel_dim, STRONGEST, OTHERS)
    route = hold_to_the_budget(tail, model, layer, images, channels=channels, channel_dim=channel_dim)
    assert str(route).startswith(ROUTES[name, role])


@pytest.mark.parametrize("role", ["last", "earlier"])
def test_autocast_rounds_the_tail_less_than_plain_ablations_in_that_precision(
    role: str, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images, layer = network("resnet18"), images_for("resnet18"), MODELS["resnet18"].layers[role]
    with torch.autocast("cpu", torch.bfloat16):
        tail = watch(model, layer, images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    channels = torch.tensor([0, 1, 2, 40])
    found = class_drops(tail, channels=channels)
    assert str(found.route).startswith(ROUTES["resnet18", role])
    how = {"channels": channels.tolist(), "activation": tail.mechanism.capture.activation}
    exact = logit_drops(model, layer, images, **how)
    with torch.autocast("cpu", torch.bfloat16):
        plain = logit_drops(model, layer, images, **how, dtype=torch.float32)
    share = 0.5 if found.route.kind == "closed-form" else 1.0  # rows round as the network's own forward does
    assert relative_error(found.drops, exact) <= share * relative_error(plain.float(), exact)


@pytest.mark.parametrize("role", ["last", "earlier"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_network_takes_the_same_route_to_the_same_drops(
    role: str, backend: str, watch: Callable
) -> None:
    model, images, layer = (
        copy.deepcopy(network("resnet18")),
        images_for("resnet18"),
        MODELS["resnet18"].layers[role],
    )
    expected = class_drops(watch(model, layer, images), channels=torch.arange(9)).drops
    model.compile(backend=backend)
    with torch.no_grad():
        model(images)
    tail = watch(model, layer, images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    found = class_drops(tail, channels=torch.arange(9))
    assert str(found.route).startswith(ROUTES["resnet18", role])
    assert torch.equal(found.drops, expected)

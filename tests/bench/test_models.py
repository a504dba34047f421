"""The seeded networks stand in for trained ones: alive, and reproducible."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.sizes import by_size
from xaimed_bench.data import PHANTOM_KINDS, phantoms
from xaimed_bench.models import MODELS, TRAINED_LOGIT, build_model, calibrate_on_phantoms

SMALL = ("mobilenet_v3_small", "resnet18")
"""Quick to build."""


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.cat([phantoms(kind, 2, seed=5).images for kind in PHANTOM_KINDS])


@torch.no_grad()
def outputs_of(name: str, images: Tensor) -> dict[str, Tensor]:
    model = build_model(name)
    seen: dict[str, Tensor] = {}
    for role, layer in MODELS[name].layers.items():
        model.get_submodule(layer).register_forward_hook(
            lambda _module, _inputs, output, role=role: seen.__setitem__(role, output.clone())
        )
    seen["logits"] = model(images)
    return seen


@pytest.mark.parametrize("name", by_size(MODELS))
def test_every_model_is_alive_at_both_layers_and_answers_like_a_trained_one(name, images):
    seen = outputs_of(name, images)
    for role in MODELS[name].layers:
        activation = seen[role]
        assert 0.05 < float(activation.std()) < 20, f"{role}: activations vanish or explode"
        assert float((activation.flatten(1).std(1) > 0.01).float().mean()) == 1.0
        dead = (activation == 0).flatten(2).all(2) if activation.ndim == 4 else (activation == 0).all(1)
        assert float(dead.float().mean()) < 0.1, f"{role}: dead channels"
        assert bool((activation >= 0).all()) == (role in MODELS[name].nonnegative)
    top = seen["logits"].max(1).values
    assert 0.3 * TRAINED_LOGIT < float(top.median()) < 3 * TRAINED_LOGIT
    assert float(top.min()) > 0, "a negative top logit inverts grad-cam's AblationCAM"
    assert len(seen["logits"].argmax(1).unique()) > 1, "all images get one class"


@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(name):
    first, again, other = (build_model(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    head = [key for key in first if key.endswith("weight")][-1]
    assert not torch.equal(first[head], other[head])


def test_building_a_model_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build_model("mobilenet_v3_small", seed=9)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_built_model_is_in_eval_mode_and_can_be_differentiated():
    model = build_model("mobilenet_v3_small")
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_calibration_is_what_makes_the_difference(images):
    bare = build_model("efficientnet_b0", calibrate=False)
    with torch.no_grad():
        before = bare(images).std()
        calibrate_on_phantoms(bare)
        after = bare(images).std()
    assert float(before) < 1e-3 * float(after)


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_the_classifier_has_as_many_classes_as_asked_for_and_logits_of_the_same_size(classes, images):
    model = build_model("mobilenet_v3_small", classes=classes)
    with torch.no_grad():
        logits = model(images)
    assert logits.shape == (len(images), classes)
    assert 0.2 * TRAINED_LOGIT < float(logits.abs().max(1).values.median()) < 4 * TRAINED_LOGIT


def test_wrong_requests_name_what_is_allowed():
    with pytest.raises(ValueError, match=r"no model is called 'resnet5'; choose one of resnet50, "):
        build_model("resnet5")
    with pytest.raises(ValueError, match="0 classes"):
        build_model("resnet18", classes=0)


def test_the_papers_four_networks_are_there():
    assert {name for name, spec in MODELS.items() if spec.paper} == {
        "resnet50",
        "densenet121",
        "vgg16",
        "efficientnet_b0",
    }

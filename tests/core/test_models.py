"""The seeded networks stand in for trained ones: alive, reproducible, and exchangeable for a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from xaimed_core.data import PHANTOM_KINDS, phantoms
from xaimed_core.models import MODELS, TRAINED_LOGIT, build_model, calibrate_on_phantoms, classifier_of

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


@pytest.mark.parametrize("name", MODELS)
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


# ------------------------------------------------------------------------------------------------ checkpoints
def wrappers() -> dict[str, object]:
    return {
        "plain": lambda state: state,
        "state_dict": lambda state: {"state_dict": state, "epoch": 30},
        "model": lambda state: {"model": state, "optimizer": {}},
        "module-prefix": lambda state: {f"module.{k}": v for k, v in state.items()},
        "compiled-in-parallel": lambda state: {
            "model_state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}
        },
        "without-batch-counters": lambda state: {
            k: v for k, v in state.items() if not k.endswith("num_batches_tracked")
        },
    }


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return build_model("mobilenet_v3_small", classes=7, seed=11)


@pytest.mark.parametrize("wrap", wrappers())
def test_a_checkpoint_replaces_the_seeded_weights_however_it_is_wrapped(wrap, trained, tmp_path, images):
    file = tmp_path / "trained.pt"
    torch.save(wrappers()[wrap](trained.state_dict()), file)
    model = build_model("mobilenet_v3_small", checkpoint=file)
    assert classifier_of(model).out_features == 7, "the class count comes from the checkpoint"
    with torch.no_grad():
        assert torch.equal(model(images), trained(images))


def test_a_checkpoint_with_another_class_count_says_which_to_ask_for(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "seven.pt")
    with pytest.raises(ValueError, match=r"has 7 classes, 4 were asked for; give classes=7"):
        build_model("mobilenet_v3_small", classes=4, checkpoint=tmp_path / "seven.pt")


def test_a_checkpoint_of_another_network_is_refused_with_the_differences(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "mobile.pt")
    with pytest.raises(ValueError, match=r"resnet18 from mobile.pt does not fit: \d+ missing .*conv1.weight"):
        build_model("resnet18", checkpoint=tmp_path / "mobile.pt")


def test_a_checkpoint_with_one_reshaped_tensor_is_refused(trained, tmp_path):
    state = dict(trained.state_dict())
    state["features.0.0.weight"] = state["features.0.0.weight"][:8]
    torch.save(state, tmp_path / "cut.pt")
    with pytest.raises(ValueError, match=r"1 of another shape \(first: features.0.0.weight"):
        build_model("mobilenet_v3_small", checkpoint=tmp_path / "cut.pt")


class Dangerous:
    def __reduce__(self):
        return (Path.touch, (Path("a-checkpoint-ran-code"),))


@pytest.mark.parametrize(
    "content", [lambda: nn.Linear(2, 2), lambda: [1, 2], lambda: {"epoch": 3}, dict, Dangerous]
)
def test_a_file_that_holds_no_state_dict_is_refused_and_runs_no_code(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content(), tmp_path / "odd.pt")
    with pytest.raises(
        ValueError, match=r"odd.pt holds no (plain )?state dict.*torch.save\(model.state_dict"
    ):
        build_model("mobilenet_v3_small", checkpoint="odd.pt")
    assert not (tmp_path / "a-checkpoint-ran-code").exists()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "notes.pt").write_text("lr 1e-3")
    with pytest.raises(ValueError, match="holds no plain state dict"):
        build_model("mobilenet_v3_small", checkpoint=tmp_path / "notes.pt")


def test_wrong_requests_name_what_is_allowed(tmp_path):
    with pytest.raises(ValueError, match=r"no model is called 'resnet5'; choose one of resnet50, "):
        build_model("resnet5")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*gone.pt"):
        build_model("resnet18", checkpoint=tmp_path / "gone.pt")
    with pytest.raises(ValueError, match="0 classes"):
        build_model("resnet18", classes=0)


def test_the_papers_four_networks_are_there():
    assert {name for name, spec in MODELS.items() if spec.paper} == {
        "resnet50",
        "densenet121",
        "vgg16",
        "efficientnet_b0",
    }

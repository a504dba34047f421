"""A linear classifier on features that stay as they are: computed once, kept, and fitted exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from tests.bench.study.train.conftest import about, equal, weights
from xaimed_bench.data import phantoms
from xaimed_bench.networks import open_network
from xaimed_bench.study.train import run
from xaimed_bench.study.train.frozen import Features, Head, fit_head
from xaimed_core import explain


def test_a_classifier_on_frozen_features_is_right_can_be_explained_and_is_kept(train, monkeypatch):
    assert train("out", "--freeze", "features", model="resnet18") == 0
    assert about("out")["scores"][0]["accuracy"] > 0.8
    network = open_network(checkpoint="out/checkpoint.safetensors")
    drawn = open_network("resnet18", classes=("dark", "light"))
    assert torch.equal(network.model.conv1.weight, drawn.model.conv1.weight)
    found = explain(network.model, phantoms("mri", 1, size=64).images, "xgradcam", network.layers["last"])
    assert found.maps["xgradcam"].isfinite().all()
    monkeypatch.setattr("xaimed_bench.study.train.frozen._compute", None)  # not called again
    assert train("out", "--freeze", "features", "--resume", model="resnet18") == 0


def test_features_that_were_kept_are_not_computed_again(train, monkeypatch):
    from xaimed_bench.study.train import frozen

    monkeypatch.setattr(frozen, "CHUNK", 10)
    assert train("whole", "--freeze", "features") == 0
    left, compute = 2, frozen._compute

    def stop(*given):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return compute(*given)

    monkeypatch.setattr(frozen, "_compute", stop)
    assert train("stopped", "--freeze", "features") == 130
    assert len(list(Path("stopped/state/features").iterdir())) == 2
    monkeypatch.setattr(frozen, "_compute", compute)
    assert train("stopped", "--freeze", "features", "--resume") == 0
    assert equal("whole", "stopped")


def test_fine_tuning_goes_on_from_the_classifier_that_has_not_seen_validation(train, monkeypatch):
    """So small a step changes nothing: what is there after an epoch is what it began with, BatchNorm's part, too."""
    monkeypatch.setattr(run, "fit_head", lambda *given: fitted.append(fit_head(*given)) or fitted[-1])
    fitted: list[tuple[Head, Head]] = []
    options = ("--recipe", "probe-first", "--epochs", "1", "--lr", "1e-9", "--precision", "float32")
    assert train("out", *options, model="resnet18") == 0
    ((judged, seen),) = fitted
    assert not torch.allclose(judged.weight, seen.weight, rtol=1e-3)
    assert torch.allclose(weights("out")["fc.weight"].double(), judged.weight, atol=1e-6)
    probe, epoch = about("out")["log"]
    assert epoch["validation_loss"] == pytest.approx(probe["validation_loss"], rel=1e-4)
    drawn = dict(open_network("resnet18", classes=("dark", "light")).model.named_buffers())
    assert all(torch.equal(weights("out")[name], buffer) for name, buffer in drawn.items())


def test_the_classifier_is_the_least_of_its_loss():
    torch.manual_seed(0)
    x = torch.randn(60, 5) * torch.tensor([1.0, 10.0, 0.1, 1.0, 3.0]) + 4
    y = (x[:, 0] + 10 * x[:, 2] > 44).long()
    seen, none = Features(x, y, torch.ones(60)), Features(x[:0], y[:0], torch.ones(0))
    head, same = fit_head(seen, none, 2)
    assert head is same
    spread = x.std(0, correction=0).double()

    def loss(weight, bias):
        penalty = head.strength / 2 * (weight * spread).square().sum()
        return functional.cross_entropy(x.double() @ weight.T + bias, y) + penalty

    weight, bias = head.weight.clone().requires_grad_(), head.bias.clone().requires_grad_()
    slopes = torch.autograd.grad(loss(weight, bias), (weight, bias))
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-4


def test_the_penalty_is_the_best_on_validation():
    torch.manual_seed(0)
    x, y = torch.randn(40, 60), torch.arange(40) % 2
    x[:, 0] += 2.0 * y
    fresh = torch.randn(400, 60)
    labels = torch.arange(400) % 2
    fresh[:, 0] += 2.0 * labels
    training, validation = Features(x, y, torch.ones(40)), Features(fresh, labels, torch.ones(400))
    head, both = fit_head(training, validation, 2)
    assert head.strength == both.strength > 1e-3, "with more features than images the weakest cannot be best"
    assert both.loss(validation) < head.loss(validation), "the one to keep has not seen validation"

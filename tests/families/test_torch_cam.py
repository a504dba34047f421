"""torch-cam as a second reference, where it computes what the papers say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from xaimed_core import METHODS, explain
from xaimed_core.methods import InputProbe, Smoothing
from xaimed_core.methods.probe import iscam
from xaimed_core.methods.smoothing import smoothgradcampp

methods = pytest.importorskip("torchcam.methods")
TARGET = 1


class Fine(nn.Module):
    """Its layer has the image's own size: what differs between packages in enlarging masks drops out."""

    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        mixed = (nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 6, 1)) if pooled else (nn.Conv2d(4, 6, 3),)
        self.head = nn.Sequential(*mixed, nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.fine(images))


def drawn(*, pooled: bool = False) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Fine(pooled=pooled).eval()
    model.head[-1].weight.data *= 20
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 24, 20, generator=torch.Generator().manual_seed(1))


def weights_of(extractor: object, model: nn.Module, images: Tensor, **given: float) -> Tensor:
    model(images)
    return extractor._get_weights([TARGET] * len(images), **given)[0].detach()


def assert_weights(name: str, model: nn.Module, images: Tensor, expected: Tensor) -> None:
    found = explain(model, images, name, "fine", TARGET).weights[name]
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_sscams_weights_are_torch_cams_under_the_same_draws(images):
    model = drawn()
    noise = iter(2 * torch.randn((10, 24, 20), generator=torch.Generator().manual_seed(0)))
    with methods.SSCAM(model, "fine", num_samples=10, std=2.0, input_shape=(3, 24, 20)) as extractor:
        extractor._distrib = SimpleNamespace(sample=lambda size: next(noise).expand(size))
        expected = weights_of(extractor, model, images)
    assert_weights("sscam", model, images, expected)


def test_scorecams_weights_are_torch_cams(images):
    model = drawn()
    with methods.ScoreCAM(model, "fine", input_shape=(3, 24, 20)) as extractor:
        expected = weights_of(extractor, model, images)
    assert_weights("scorecam", model, images, expected)


def test_iscams_weights_of_one_step_are_torch_cams(images, monkeypatch):
    """Of several steps torch-cam sums the shares up: see `differs`."""
    model = drawn()
    monkeypatch.setattr(iscam, "ISCAM", replace(METHODS["iscam"], kind=InputProbe(scales=(1.0,))))
    with methods.ISCAM(model, "fine", num_samples=1, input_shape=(3, 24, 20)) as extractor:
        expected = weights_of(extractor, model, images)
    assert_weights("iscam", model, images, expected)


def test_smooth_gradcampps_weights_of_one_draw_at_a_pooled_layer_are_torch_cams(images, monkeypatch):
    """Of several draws it takes the last one's ReLU, and elsewhere it sums A g^3 where the paper has sum(A) g^3."""
    model, kind = drawn(pooled=True), Smoothing(samples=1, spread=0.15)
    monkeypatch.setattr(
        smoothgradcampp, "SMOOTHGRADCAM_PLUS_PLUS", replace(METHODS["smoothgradcam++"], kind=kind)
    )
    noise = torch.randn((1, 3, 24, 20), generator=torch.Generator().manual_seed(0))
    ranges = images.flatten(1).amax(1) - images.flatten(1).amin(1)
    noise = kind.spread * ranges.view(-1, 1, 1, 1) * noise
    with methods.SmoothGradCAMpp(model, "fine", num_samples=1, input_shape=(3, 24, 20)) as extractor:
        extractor._distrib = SimpleNamespace(sample=lambda _size: noise)
        expected = weights_of(extractor, model, images, eps=0.0)
    still = explain(model, images, "gradcam++", "fine", TARGET).weights["gradcam++"]
    assert (expected - still).abs().max() > 1e-3, "the noise changes nothing"
    assert_weights("smoothgradcam++", model, images, expected)


def test_refinecams_maps_are_torch_cams(images):
    """Of LayerCAM: torch-cam's GradCAM++ is not the paper's."""
    model = drawn()
    layers = ["fine.0", "fine", "head.0"]
    with methods.RefineCAM(model, layers, (3, 24, 20), base_method=methods.LayerCAM) as extractor:
        scores = model(images)
        (expected,) = extractor([TARGET] * 2, scores, target_shape=(24, 20))
    found = explain(model, images, "refinecam(layercam)", layers, TARGET).maps["refinecam(layercam)"]
    assert expected.std() > 0.02
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)

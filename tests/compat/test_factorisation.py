"""Kernels, concepts and pyramids: what is found in activations without a class."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xaimed_core.compat as compat
from tests.compat.conftest import images, network
from xaimed_core.compat.feature_factorization import deep_feature_factorization as dff
from xaimed_core.compat.utils import image
from xaimed_core.compat.utils.reshape_transforms import fasterrcnn_reshape_transform
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection_kernel

THEIRS = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
upstream_dff = import_module("pytorch_grad_cam.feature_factorization.deep_feature_factorization")
upstream_image = import_module("pytorch_grad_cam.utils.image")
upstream_svd = import_module("pytorch_grad_cam.utils.svd_on_activations")


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid", "cosine"])
@pytest.mark.parametrize("gamma", [None, 0.02])
def test_every_kernel_projects_as_scikit_learn(kernel, gamma):
    activations = np.random.default_rng(4).normal(size=(3, 10, 5, 6)).astype(np.float32)
    activations[1, 2, 3, 4] = np.nan
    ours = get_2d_projection_kernel(activations, kernel, gamma)
    theirs = upstream_svd.get_2d_projection_kernel(activations, kernel, gamma)
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_a_kernel_of_many_positions_takes_the_iteration():
    activations = np.random.default_rng(5).normal(size=(2, 8, 24, 24)).astype(np.float32)
    activations += np.linspace(0, 3, 24, dtype=np.float32)
    ours, theirs = (f(activations) for f in (get_2d_projection_kernel, upstream_svd.get_2d_projection_kernel))
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_factorisation_finds_grad_cams_concepts():
    activations = np.random.default_rng(6).gamma(0.5, size=(3, 20, 5, 6)).astype(np.float32)
    for ours, theirs in zip(
        dff.dff(activations.copy(), 4), upstream_dff.dff(activations.copy(), 4), strict=True
    ):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_factorisation_of_a_network_and_its_picture_are_grad_cams():
    model, batch = network("resnet18"), images(64)
    made = (model, model.layer4, None, model.fc)
    ours, theirs = (package.DeepFeatureFactorization(*made)(batch, 3) for package in (compat, THEIRS))
    for mine, other in zip(ours, theirs, strict=True):
        assert np.abs(np.asarray(mine) - np.asarray(other)).max() < 1e-3 * np.abs(np.asarray(other)).max()


def test_concepts_are_shown_in_their_colours_with_a_legend(monkeypatch):
    random = np.random.default_rng(7)
    picture, maps = random.random((64, 80, 3)), random.random((3, 64, 80)).astype(np.float32)
    colours = [np.array(c) for c in ((1.0, 0.0, 0.0), (0.1, 0.8, 0.3), (0.0, 0.2, 1.0))]
    ours = image.show_factorization_on_image(picture, maps, colours)
    theirs = upstream_image.show_factorization_on_image(picture, maps.copy(), colours)
    assert np.abs(ours.astype(int) - theirs).max() <= 4, "in levels of 255: OpenCV rounds hue and saturation"
    labels = image.create_labels_legend(random.random((3, 4)), ["a,b,c,d", "e", "f", "g"])
    assert image.show_factorization_on_image(picture, maps, concept_labels=labels).shape == (64, 160, 3)

    class Named(nn.Module):
        config = type("Config", (), {"id2label": {k: f"class {k}" for k in range(1000)}})

        def __init__(self) -> None:
            super().__init__()
            self.net = network("resnet18")

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    model = Named()
    pixels = Image.fromarray((255 * picture).astype(np.uint8))
    shown = compat.run_dff_on_image(
        model, model.net.layer3, lambda x: x[:, :9], pixels, images(80)[0, :, :64]
    )
    assert shown.shape == (64, 240, 3)


def test_labels_are_grad_cams():
    scores, names = np.random.default_rng(8).random((3, 4)), ["a,b,c,d", "e", "f", "g"]
    assert image.create_labels_legend(scores, names) == upstream_image.create_labels_legend(scores, names)


class Pyramid(nn.Module):
    """A detector in small: a feature pyramid by name, and a score of it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Levels()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([level.mean((2, 3)) for level in self.backbone(x).values()], 1)


class Levels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3, stride=2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        fine = self.fine(x)
        return {"0": fine, "pool": self.coarse(fine)}


def test_eigencam_reads_a_feature_pyramid():
    torch.manual_seed(3)
    model, batch = Pyramid(), torch.rand(2, 3, 24, 24)
    transform = THEIRS.utils.reshape_transforms.fasterrcnn_reshape_transform
    levels = model.backbone(batch)
    assert torch.equal(fasterrcnn_reshape_transform(levels), transform(levels))
    ours = compat.EigenCAM(model, [model.backbone], reshape_transform=fasterrcnn_reshape_transform)(batch)
    assert ours.shape == (2, 24, 24)
    projection = upstream_svd.get_2d_projection(transform(levels).detach().numpy())
    candidates = [
        upstream_image.scale_cam_image(
            upstream_image.scale_cam_image(np.maximum(sign * projection, 0), (24, 24))
        )
        for sign in (1, -1)
    ]
    apart = np.stack([np.abs(ours - one).max((1, 2)) for one in candidates])
    assert apart.min(0).max() < 1e-4

"""Hooks: a subclass of one's own, and the methods' own weights and images of plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xaimed_core.compat as compat
from tests.compat.conftest import REDUCTIONS, assert_same_maps, images, network, without_inplace
from xaimed_core.compat.base_cam import BaseCAM
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget

THEIRS = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")


def own_weights(base: type) -> type:
    class Mine(base):
        def get_cam_weights(self, input_tensor, target_layer, targets, activations, grads):
            del input_tensor, target_layer, targets
            return (activations * grads).mean(axis=(2, 3))

    return Mine


def own_image(base: type) -> type:
    class Mine(base):
        def get_cam_image(self, input_tensor, target_layer, targets, activations, grads, eigen_smooth=False):
            image = super().get_cam_image(
                input_tensor, target_layer, targets, activations, grads, eigen_smooth
            )
            return image - image.mean()

    return Mine


def own_aggregation(base: type) -> type:
    class Mine(base):
        def aggregate_multi_layers(self, cam_per_target_layer):
            return np.concatenate(cam_per_target_layer, axis=1).max(axis=1)

    return Mine


OWN = [("BaseCAM", own_weights)] + [
    (base, own) for base in ("GradCAM", "XGradCAM") for own in (own_weights, own_image, own_aggregation)
]


@pytest.mark.parametrize(("base", "own"), OWN)
def test_a_subclass_with_hooks_of_its_own_runs_as_on_grad_cam(own, base):
    model, batch = network("resnet18"), images(64)
    layers = [model.layer3, model.layer4]
    targets = [ClassifierOutputTarget(k) for k in (0, 1, 2)]
    found = []
    for bases in ({"BaseCAM": BaseCAM} | vars(compat), {"BaseCAM": THEIRS.base_cam.BaseCAM} | vars(THEIRS)):
        with without_inplace(model):
            cam = own(bases[base])(model, layers)
            found.append(cam(batch, targets))
            cam.activations_and_grads.release()
    assert_same_maps(found[0], found[1])
    assert not np.allclose(found[0], compat.GradCAM(model, layers)(batch, targets), atol=1e-2)


def test_a_subclass_with_hooks_says_so_in_its_route_and_leaves_nothing_behind():
    model = network("resnet18")
    model.zero_grad()
    cam = own_weights(compat.GradCAM)(model, [model.layer4])
    cam(images(64))
    assert "the hooks of Mine" in cam.route
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    plain = compat.GradCAM(model, [model.layer4])
    plain(images(64))
    assert "tail backward" in plain.route
    with pytest.raises(NotImplementedError, match="get_cam_weights must be implemented"):
        BaseCAM(model, [model.layer4])(images(64))
    with pytest.raises(ValueError, match="1 targets for 3 images"):
        cam(images(64), [ClassifierOutputTarget(0)])


ARRAYS = [*REDUCTIONS, "EigenCAM", "EigenGradCAM", "SegEigenCAM", "KPCA_CAM", "FEM"]


@pytest.mark.parametrize("eigen_smooth", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_images_of_plain_arrays_are_grad_cams(name, eigen_smooth):
    random = np.random.default_rng(10)
    a, g = random.normal(size=(2, 2, 6, 4, 5)).astype(np.float32)
    model = network("resnet18")
    made = [getattr(package, name)(model, [model.layer4]) for package in (compat, THEIRS)]
    ours, theirs = (cam.get_cam_image(None, None, None, a, g, eigen_smooth) for cam in made)
    made[1].activations_and_grads.release()
    if name.startswith("Eigen") or (eigen_smooth and name in REDUCTIONS):
        theirs = theirs * np.sign((ours * theirs).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (2, 6, 3, 4, 5)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", ["GradCAM", "GradCAMPlusPlus", "XGradCAM"])
def test_weights_of_plain_arrays_are_grad_cams(name, shape):
    random = np.random.default_rng(11)
    a, g = random.random(shape, np.float32), random.normal(size=shape).astype(np.float32)
    ours, theirs = (
        getattr(package, name).get_cam_weights(None, None, None, None, a, g) for package in (compat, THEIRS)
    )
    assert ours.shape == shape[:2]
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_weights_of_probing_methods_are_grad_cams():
    model, batch = network("resnet18"), images(48, 1)
    targets, layer = [ClassifierOutputTarget(1)], model.layer3
    ours = compat.AblationCAM(model, [layer]).get_cam_weights(batch, layer, targets, None, None)
    with torch.no_grad():
        a = model.layer3(model.layer2(model.layer1(model.maxpool(model.relu(model.bn1(model.conv1(batch)))))))
    cam = THEIRS.AblationCAM(model, [layer], batch_size=64)
    theirs = cam.get_cam_weights(batch, layer, targets, a.numpy(), None)
    cam.activations_and_grads.release()
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())

"""The maps of the real grad-cam package, to 1e-4 of the final map, from the same calls."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import numpy as np
import pytest
from torch import Tensor, nn

import xaimed_core.compat as compat
from tests.compat.conftest import (
    ONE_PASS,
    REDUCTIONS,
    SPREAD,
    assert_same_maps,
    images,
    network,
    reference,
    without_inplace,
)
from tests.sizes import by_size
from xaimed_bench.models import MODELS
from xaimed_core import explain
from xaimed_core.compat.utils.model_targets import (
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    FinerWeightedTarget,
)

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
upstream_targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")
scale_cam_image = importlib.import_module("pytorch_grad_cam.utils.image").scale_cam_image

NETWORKS = ("resnet18", "resnet50", "vgg16", "densenet121")
PLACES = [(name, role) for name in NETWORKS for role in MODELS[name].layers] + [("efficientnet_b0", "last")]

FEW_CHANNELS = ("resnet18", "efficientnet_b0")
"""The networks of which grad-cam's AblationCAM takes seconds."""


def layer_of(name: str, role: str) -> tuple[nn.Module, nn.Module]:
    model = network(name)
    return model, model.get_submodule(MODELS[name].layers[role])


@pytest.fixture(params=by_size(PLACES), ids="-".join, scope="module")
def place(request) -> Iterator[tuple[nn.Module, nn.Module]]:
    return layer_of(*request.param)


@pytest.mark.parametrize("method", ONE_PASS)
def test_methods_of_one_pass_give_grad_cams_maps(method, place):
    model, layer = place
    batch = images(96, 2).repeat_interleave(2, 0)
    targets = [ClassifierOutputTarget(k) for k in range(4)]
    np.random.seed(3)  # noqa: NPY002 # RandomCAM's numbers, for both
    ours = getattr(compat, method)(model, [layer])(batch, targets)
    np.random.seed(3)  # noqa: NPY002
    assert_same_maps(ours, reference(method, model, [layer], batch, targets))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        pytest.param(name, role, marks=[] if name in FEW_CHANNELS else pytest.mark.nightly)
        for name, role in PLACES
        if role in MODELS[name].nonnegative
    ],
)
def test_ablationcam_gives_grad_cams_maps_where_the_target_ends_in_relu(name, role):
    """One small image: grad-cam runs the whole network once for each of up to 2,048 channels.

    The class is the one whose map of drops stands highest above rounding: a drop is a difference of two float32
    scores, and where all drops are small grad-cam's own final map is off by up to 3e-4 (against float64).
    """
    model, layer = layer_of(name, role)
    batch = images(64 if role == "last" else 48, 1)  # 2 x 2 and 3 x 3 positions
    e = explain(model, batch.repeat(4, 1, 1, 1), "ablationcam", layer, [0, 1, 2, 3], semantics="grad-cam")
    evidence = e.raw["ablationcam"].relu().flatten(1) * e.logits.diag().abs()[:, None]
    targets = [ClassifierOutputTarget(int((evidence.amax(1) - evidence.amin(1)).argmax()))]
    theirs = reference("AblationCAM", model, [layer], batch, targets, batch_size=64)
    assert_same_maps(compat.AblationCAM(model, [layer])(batch, targets), theirs)


@pytest.mark.parametrize("method", ["EigenCAM", "EigenGradCAM"])
def test_eigen_methods_give_the_map_of_one_of_the_two_signs(method, place):
    """The SVD leaves the sign open. Only images whose first two singular values are separated have such a map."""
    model, layer = place
    batch = images(96, 9)
    ours = getattr(compat, method)(model, [layer])(batch)
    compared = 0
    for mine, columns in zip(ours, weighted_columns(model, layer, batch, method), strict=True):
        _, values, vectors = np.linalg.svd(columns, full_matrices=False)
        if values[0] < 1.02 * values[1]:
            continue
        projection = (columns @ vectors[0]).reshape(1, *[int(len(columns) ** 0.5)] * 2)
        both = [scale_cam_image(scale_cam_image(np.maximum(s * projection, 0), (96, 96)))[0] for s in (1, -1)]
        assert min(np.abs(mine - map_).max() for map_ in both) < 1e-3
        compared += mine.std() > SPREAD
    assert compared >= 3


def weighted_columns(model: nn.Module, layer: nn.Module, batch: Tensor, method: str) -> list[np.ndarray]:
    """Positions x channels, centred, as grad-cam hands them to its SVD, from grad-cam's own hooks."""
    with without_inplace(model):
        cam = getattr(pytorch_grad_cam, method)(model, [layer])
        cam(batch, None)
        maps = cam.activations_and_grads.activations[0].double()
        if method == "EigenGradCAM":
            maps = maps * cam.activations_and_grads.gradients[0].double()
        cam.activations_and_grads.release()
    columns = maps.flatten(2).transpose(1, 2)
    return list((columns - columns.mean(1, keepdim=True)).numpy())


def test_scorecam_gives_grad_cams_maps():
    model, layer = layer_of("resnet18", "earlier")
    batch = images(64, 3)
    assert_same_maps(
        compat.ScoreCAM(model, [layer])(batch), reference("ScoreCAM", model, [layer], batch, None)
    )


# ------------------------------------------------------------------------------------------- ways of calling
@pytest.mark.parametrize("method", ["GradCAMPlusPlus", "XGradCAM", "LayerCAM"])
def test_several_layers_are_averaged_as_grad_cam_does(method):
    model = network("resnet18")
    layers = [model.layer4[1], model.layer3[1], model.layer2[0]]
    batch = images(96)
    ours = getattr(compat, method)(model, layers)(batch)
    assert_same_maps(ours, reference(method, model, layers, batch, None))


def test_ablationcam_takes_several_layers_too():
    model = network("resnet18")
    layers = [model.layer3[0], model.layer3[1]]
    batch = images(64, 1)
    theirs = reference("AblationCAM", model, layers, batch, None, batch_size=64)
    assert_same_maps(compat.AblationCAM(model, layers)(batch), theirs)


@pytest.mark.parametrize("method", ["GradCAMPlusPlus", "LayerCAM"])
def test_aug_smooth_averages_over_grad_cams_augmentations(method):
    model, layer = layer_of("resnet18", "earlier")
    batch = images(96)
    ours = getattr(compat, method)(model, [layer])(batch, aug_smooth=True)
    assert_same_maps(ours, reference(method, model, [layer], batch, None, aug_smooth=True))


def test_aug_smooth_takes_the_transforms_of_ttach():
    import ttach

    model, layer = layer_of("resnet18", "earlier")
    batch = images(96)
    transforms = ttach.Compose([ttach.VerticalFlip(), ttach.Rotate90([0, 90])])
    with without_inplace(model):
        cam = pytorch_grad_cam.GradCAM(model, [layer])
        cam.tta_transforms = transforms
        theirs = cam(batch, None, aug_smooth=True)
        cam.activations_and_grads.release()
    ours = compat.GradCAM(model, [layer], tta_transforms=transforms)(batch, aug_smooth=True)
    assert_same_maps(ours, theirs)
    assert not np.allclose(ours, compat.GradCAM(model, [layer])(batch), atol=0.01), (
        "the transforms changed nothing"
    )


@pytest.mark.parametrize("method", [*REDUCTIONS, "AblationCAM", "ScoreCAM"])
def test_eigen_smooth_gives_the_map_of_one_of_the_two_signs(method):
    model = network("resnet18")
    layer = model.layer2[1] if method in REDUCTIONS else model.layer3[0]
    batch = images(96) if method in REDUCTIONS else images(64, 1)
    ours = getattr(compat, method)(model, [layer])(batch, eigen_smooth=True)
    plain = getattr(compat, method)(model, [layer])(batch)
    both: list[np.ndarray] = []
    for sign in (1, -1):
        with pytest.MonkeyPatch.context() as patch:
            patch_projections(patch, sign)
            both.append(reference(method, model, [layer], batch, None, eigen_smooth=True))
    distance = np.stack([np.abs(ours - theirs).max((1, 2)) for theirs in both])
    assert float(distance.min(0).max()) < 1e-3
    assert (ours.std((1, 2)) > SPREAD).all()
    assert (np.abs(ours - plain).max((1, 2)) > 0.01).all(), "smoothing changed nothing"


def patch_projections(patch: pytest.MonkeyPatch, sign: int) -> None:
    """Make grad-cam take its projection times ``sign``, in every module that imported the function by name."""
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    for module in ("base_cam", "layer_cam", "hirescam", "grad_cam_elementwise"):
        patch.setattr(
            f"pytorch_grad_cam.{module}.get_2d_projection", lambda maps: sign * get_2d_projection(maps)
        )


@pytest.mark.parametrize("size", [(64, 96), (80, 64)])
def test_images_that_are_not_square_keep_their_orientation(size):
    model, layer = layer_of("resnet18", "earlier")
    batch = images(96)[:, :, : size[0], : size[1]]
    ours = compat.XGradCAM(model, [layer])(batch)
    assert ours.shape == (3, *size)
    assert_same_maps(ours, reference("XGradCAM", model, [layer], batch, None))


def test_targets_of_either_package_and_any_callable_serve_both():
    model, layer = layer_of("resnet18", "earlier")
    batch = images(96)
    for targets, upstream in (
        (
            [ClassifierOutputTarget(k) for k in (1, 2, 3)],
            [upstream_targets.ClassifierOutputTarget(k) for k in (1, 2, 3)],
        ),
        ([upstream_targets.ClassifierOutputTarget(-1)] * 3, [ClassifierOutputTarget(3)] * 3),
        (
            [ClassifierOutputSoftmaxTarget(k) for k in (0, 1, 2)],
            [upstream_targets.ClassifierOutputSoftmaxTarget(k) for k in (0, 1, 2)],
        ),
        ([lambda row: row[0] - row[2]] * 3, [lambda row: row[0] - row[2]] * 3),
        ([FinerWeightedTarget(0, [1, 2], 0.5)] * 3, [FinerWeightedTarget(0, [1, 2], 0.5)] * 3),
    ):
        ours = compat.HiResCAM(model, [layer])(batch, targets)
        assert_same_maps(ours, reference("HiResCAM", model, [layer], batch, upstream))


# -------------------------------------------------------------------------------------- a documented difference
def test_on_a_cpu_grad_cam_explains_what_densenets_in_place_relu_left_of_the_layer():
    """Why the parity above runs grad-cam with in-place operations off: here it is as it comes.

    The BatchNorm ``features.norm5`` gives signed values. Its output is kept by reference and then overwritten by
    the ReLU that follows, so that grad-cam on a CPU weighs activations that the layer never gave; on CUDA it copies
    them to the host first and agrees with us.
    """
    model = network("densenet121")
    layer = model.features.norm5
    batch = images(96)
    cam = pytorch_grad_cam.XGradCAM(model, [layer])
    aliased = cam(batch, None)
    kept = cam.activations_and_grads.activations[0]
    assert float(kept.min()) == 0, "what grad-cam kept has been through the ReLU"
    cam.activations_and_grads.release()
    ours = compat.XGradCAM(model, [layer])(batch)
    assert_same_maps(ours, reference("XGradCAM", model, [layer], batch, None))
    assert float(np.abs(aliased - ours).max()) > 0.1

"""What grad-cam has beside methods of one layer: meta-methods, full gradients, options of their own."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import xaimed_core.compat as compat
from tests.compat.conftest import assert_same_maps, images, network, reference, without_inplace
from xaimed_core import explain
from xaimed_core.compat.metrics import arcc
from xaimed_core.compat.sobel_cam import sobel_cam
from xaimed_core.compat.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget
from xaimed_core.making import _multiplied

THEIRS = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
upstream_dff = import_module("pytorch_grad_cam.feature_factorization.deep_feature_factorization")
upstream_arcc = import_module("pytorch_grad_cam.metrics.arcc")
upstream_sobel = import_module("pytorch_grad_cam.sobel_cam").sobel_cam
upstream_image = import_module("pytorch_grad_cam.utils.image")
upstream_svd = import_module("pytorch_grad_cam.utils.svd_on_activations")


def called(
    package: Any, name: str, model: nn.Module, layers: list[nn.Module], *call: Any, **given: Any
) -> Any:
    """A class of either package, made with ``made`` and called; in-place operations off."""
    made = given.pop("made", {})
    base = made.get("base_method")
    made = made if base is None else made | {"base_method": getattr(package, base)}
    with without_inplace(model):
        return getattr(package, name)(model, layers, **made)(*call, **given)


def both(name: str, model: nn.Module, layers: list[nn.Module], *call: Any, **given: Any) -> tuple[Any, Any]:
    return called(compat, name, model, layers, *call, **given), called(
        THEIRS, name, model, layers, *call, **given
    )


# ------------------------------------------------------------------------------------------ second order
@pytest.mark.parametrize("role", ["layer3", "layer2"])
def test_shapleycam_of_a_curved_score_is_grad_cams(role):
    """Behind a ReLU network a logit is linear in pieces; the ReST score is not."""
    model, batch = network("resnet18"), images(64)
    layer, targets = model.get_submodule(role), [ClassifierOutputReST(k) for k in (0, 1, 2)]
    ours = compat.ShapleyCAM(model, [layer])(batch, targets)
    assert_same_maps(ours, reference("ShapleyCAM", model, [layer], batch, targets))
    plain = compat.GradCAM(model, [layer])(batch, targets)
    assert np.abs(ours - plain).max() > 1e-3, "the curvature changed nothing"


# ------------------------------------------------------------------------------------------ meta-methods
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"alpha": 0.5},
        {"comparison_categories": [1, 3]},
        {"target_idx": 2},
        {"eigen_smooth": False, "targets": [ClassifierOutputTarget(k) for k in (0, 1, 2)]},
    ],
    ids=["plain", "alpha", "categories", "idx", "targets"],
)
@pytest.mark.parametrize("base", ["GradCAM", "LayerCAM"])
def test_finercam_gives_grad_cams_maps(base, given):
    model = network("resnet18")
    ours, theirs = both("FinerCAM", model, [model.layer3], images(64), made={"base_method": base}, **given)
    assert_same_maps(ours, theirs)


def test_of_a_certain_classifier_grad_cams_finercam_is_left_with_its_epsilon():
    """`METHODS["finercam"].differs`: probabilities of 1e-12 and less, whose shares are as well defined as any."""
    model, batch = copy.deepcopy(network("resnet18")), images(64)
    with torch.no_grad():
        model.fc.weight.mul_(1e3)
        model.fc.bias.mul_(1e3)
        logits = model(batch)
    main = logits.argmax(1).tolist()
    others = [
        [c for c in (row - row[k]).abs().argsort().tolist() if c != k][:3]
        for row, k in zip(logits, main, strict=True)
    ]
    assert all(row.softmax(0)[of].sum() < 1e-9 for row, of in zip(logits.double(), others, strict=True))

    def exactly(k: int, of: list[int]):
        return lambda row: (row[of].softmax(0) * (row[k] - row[of])).sum()

    exact = [exactly(k, of) for k, of in zip(main, others, strict=True)]
    wanted = explain(copy.deepcopy(model).double(), batch.double(), "gradcam", "layer3", exact).maps[
        "gradcam"
    ]
    found = explain(model, batch, "finercam", "layer3").maps["finercam"]
    assert wanted.amax() == 1
    assert (found - wanted).abs().max() < 1e-4
    theirs = called(THEIRS, "FinerCAM", model, [model.layer3], batch)
    assert np.abs(theirs - wanted.numpy()).max() > 0.1


def test_finercam_has_grad_cams_epsilon_where_that_is_asked_for():
    """The other classes' probabilities together are about the 1e-9 that it adds to them."""
    model, batch = copy.deepcopy(network("resnet18")), images(64)[:1]
    with torch.no_grad():
        logits = model(batch)[0]
        model.fc.weight.mul_(20 / (logits.max() - logits.median()))
        model.fc.bias.mul_(20 / (logits.max() - logits.median()))
        order = model(batch)[0].argsort(descending=True).tolist()
    theirs = called(THEIRS, "FinerCAM", model, [model.layer3], batch)
    apart = [
        np.abs(explain(model, batch, "finercam", "layer3", **given).maps["finercam"].numpy() - theirs).max()
        for given in (
            {},
            {"semantics": "grad-cam"},
            {"semantics": "grad-cam", "targets": order[0], "against": [order[1:4]]},
        )
    ]
    assert apart[0] > 0.01
    assert max(apart[1:]) < 1e-4


def test_of_activations_in_small_units_scorecam_has_grad_cams_epsilon_where_that_is_asked_for():
    """`METHODS["scorecam"].differs`: with channels of 1e-8 it halves the masks."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
            with torch.no_grad():
                self.layer[0].weight.mul_(1e-8)
                self.layer[0].bias.mul_(1e-8)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head((1e9 * self.layer(x)).square().mean((2, 3)))

    model, batch = Small().eval(), images(64)
    theirs = called(THEIRS, "ScoreCAM", model, [model.layer], batch, [ClassifierOutputTarget(0)] * len(batch))
    exact, as_theirs = (
        explain(model, batch, "scorecam", "layer", 0, semantics=name) for name in ("definition", "grad-cam")
    )
    assert (as_theirs.weights["scorecam"] - exact.weights["scorecam"]).abs().max() > 0.1
    assert np.abs(as_theirs.maps["scorecam"].numpy() - theirs).max() < 1e-4


def test_grad_cams_randomcam_changes_from_call_to_call():
    model, batch = network("resnet18"), images(64)
    theirs = [called(THEIRS, "RandomCAM", model, [model.layer3], batch, None) for _ in range(2)]
    assert np.abs(theirs[0] - theirs[1]).max() > 0.1
    ours = [explain(model, part, "randomcam", "layer3").maps["randomcam"] for part in (batch, batch[:1])]
    torch.testing.assert_close(ours[0][:1], ours[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("base", ["GradCAMPlusPlus", "KPCA_CAM", "LayerCAM"])
def test_refinecam_multiplies_the_layers_maps(base):
    model = network("resnet18")
    layers = [model.layer2, model.layer3, model.layer4]
    targets = [ClassifierOutputTarget(k) for k in (0, 1, 2)]
    ours, theirs = both("RefineCAM", model, layers, images(64), targets, made={"base_method": base})
    assert_same_maps(ours, theirs)


def test_a_product_of_maps_that_mark_different_places_is_scaled_once_as_in_grad_cam():
    scale = upstream_image.scale_cam_image
    one = torch.full((1, 8, 8), 1e-7)
    one[0, :4], one[0, 0, 0] = 0, 1
    layers = one, one.flip(1, 2)
    each = [scale(scale(raw.numpy())) for raw in layers]
    found = _multiplied(layers, (8, 8), 1e-7).maps
    assert found.amax() < 0.6
    np.testing.assert_allclose(found, scale(np.prod(each, 0)), atol=1e-5)


def test_refinecam_takes_one_forward_for_all_layers():
    model, batch = network("resnet18"), images(64)
    calls: list[int] = []
    hook = model.conv1.register_forward_hook(lambda *_: calls.append(1))
    try:
        compat.RefineCAM(model, [model.layer2, model.layer3, model.layer4])(batch)
    finally:
        hook.remove()
    assert len(calls) == 1


SESS_OPTIONS = {
    "plain": {},
    "max": {"pool": "max"},
    "theta": {"theta": 0.4, "smooth": False},
    "filtered": {"pre_filter_ratio": 0.4, "use_softmax_scores": False},
    "scales": {"scales": [64, 80], "window_size": 48, "step_size": 24, "batch_size": 5},
}


@pytest.mark.parametrize("options", SESS_OPTIONS.values(), ids=SESS_OPTIONS)
def test_sess_gives_grad_cams_maps(options):
    model, batch = network("resnet18"), images(96)[:2, :, :64, :]
    made = {"num_scales": 3, "base_method": "XGradCAM", **options}
    ours, theirs = both("SESS", model, [model.layer3], batch, made=made)
    assert_same_maps(ours, theirs)


# ------------------------------------------------------------------------------------------ biases
@pytest.mark.parametrize("eigen_smooth", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_fullgrad_gives_grad_cams_maps(name, eigen_smooth):
    model, batch = network(name), images(64)
    targets = [ClassifierOutputTarget(k) for k in (0, 1, 2)]
    ours, theirs = both("FullGrad", model, [], batch, targets, eigen_smooth=eigen_smooth)
    if (
        eigen_smooth
    ):  # a projection, whose sign the SVD leaves open: scaled to [0, 1], its negative is 1 - map
        theirs = np.where(np.abs(ours - theirs).max((1, 2), keepdims=True) < 0.1, theirs, 1 - theirs)
        assert np.abs(ours - theirs).max() < 1e-3
    else:
        assert_same_maps(ours, theirs)


# ------------------------------------------------------------------------------------------ own options


def test_options_of_kpca_and_fem_are_grad_cams():
    model, batch = network("resnet18"), images(64)
    for name, made in (("KPCA_CAM", {"kernel": "rbf", "gamma": 0.001}), ("FEM", {"k": 1})):
        ours, theirs = both(name, model, [model.layer3], batch, None, made=made)
        assert_same_maps(ours, theirs)
        assert np.abs(ours - getattr(compat, name)(model, [model.layer3])(batch)).max() > 1e-2


# ------------------------------------------------------------------------------------------ other parts
def test_guided_backpropagation_gives_grad_cams_gradient_and_leaves_the_model():
    model, batch = network("resnet18"), images(64)
    before = [type(module) for module in model.modules()], [id(module) for module in model.modules()]
    ours = compat.GuidedBackpropReLUModel(model)(batch[:1], 2)
    assert before == (
        [type(module) for module in model.modules()],
        [id(module) for module in model.modules()],
    )
    theirs = THEIRS.GuidedBackpropReLUModel(copy.deepcopy(model))(batch[:1].clone(), 2)
    assert np.abs(theirs).max() > 0
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_arcc_and_its_parts_are_grad_cams():
    model, batch = network("resnet18"), images(64)
    targets = [ClassifierOutputTarget(k) for k in (0, 1, 2)]
    cam = compat.GradCAM(model, [model.layer3])
    maps = cam(batch, targets)
    assert np.allclose(arcc.Complexity()(maps), upstream_arcc.Complexity()(maps), atol=1e-6)
    coherency = [one.Coherency()(batch, maps, targets, model, cam) for one in (arcc, upstream_arcc)]
    assert np.allclose(*coherency, atol=1e-5)
    found = arcc.ARCC(cam)(batch, maps, targets, model)
    assert found.shape == (3,)
    assert ((found >= 0) & (found <= 1)).all()

    class FixedRoad:
        def __call__(self, *_: object) -> np.ndarray:
            return np.array([0.1, 0.3, 0.2], np.float32)

    scores = []
    for package in (arcc, upstream_arcc):
        metric = package.ARCC(cam)
        metric.road = FixedRoad()  # its noise is random in both
        scores.append(metric(batch, maps, targets, model))
    np.testing.assert_allclose(*scores, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_edges_are_opencvs(dtype):
    picture = (np.random.default_rng(9).random((20, 24, 3)) * 255).astype(dtype)
    difference = np.abs(sobel_cam(picture).astype(int) - upstream_sobel(picture))
    assert difference.max() <= 4, "OpenCV's grey is of whole numbers with 15 bits"
    assert (difference == 0).mean() > 0.9

"""What grad-cam has beside methods of one layer: meta-methods, factorisation, full gradients, hooks of a subclass."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xaimed_core.compat as compat
from tests.compat.conftest import assert_same_maps, images, network, reference, without_inplace
from xaimed_core import METHODS, explain
from xaimed_core.compat.base_cam import BaseCAM
from xaimed_core.compat.feature_factorization import deep_feature_factorization as dff
from xaimed_core.compat.metrics import arcc
from xaimed_core.compat.sobel_cam import sobel_cam
from xaimed_core.compat.utils import image
from xaimed_core.compat.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget
from xaimed_core.compat.utils.reshape_transforms import fasterrcnn_reshape_transform
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection_kernel
from xaimed_core.methods import Reduction

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
upstream_dff = import_module("pytorch_grad_cam.feature_factorization.deep_feature_factorization")
upstream_arcc = import_module("pytorch_grad_cam.metrics.arcc")
UpstreamSESS = import_module("pytorch_grad_cam.sess").SESS
upstream_sobel = import_module("pytorch_grad_cam.sobel_cam").sobel_cam
upstream_image = import_module("pytorch_grad_cam.utils.image")
upstream_svd = import_module("pytorch_grad_cam.utils.svd_on_activations")
THEIRS = pytorch_grad_cam


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


def test_refinecam_takes_one_forward_for_all_layers():
    model, batch = network("resnet18"), images(64)
    calls: list[int] = []
    hook = model.conv1.register_forward_hook(lambda *_: calls.append(1))
    try:
        compat.RefineCAM(model, [model.layer2, model.layer3, model.layer4])(batch)
    finally:
        hook.remove()
    assert len(calls) == 1
    with pytest.raises(TypeError, match="must be a list of layers"):
        compat.RefineCAM(model, model.layer4)


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


def test_sess_refuses_what_cannot_be():
    model = network("resnet18")
    for wrong in ({"pool": "median"}, {"pre_filter_ratio": 1.0}, {"num_scales": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="must be"):
            compat.SESS(model, [model.layer3], **wrong)
    with pytest.raises(ValueError, match="at least the window's 64, got 32"):
        compat.SESS(model, [model.layer3], scales=[32])(images(64))
    with pytest.raises(ValueError, match="1 targets for 3 images"):
        compat.SESS(model, [model.layer3])(images(64), [ClassifierOutputTarget(0)])
    assert UpstreamSESS is pytorch_grad_cam.SESS


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


def test_fullgrad_needs_a_bias():
    with pytest.raises(ValueError, match="no Conv2d or BatchNorm2d with one"):
        compat.FullGrad(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False)), [])


# ------------------------------------------------------------------------------------------ own options
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


def test_options_of_kpca_and_fem_are_grad_cams():
    model, batch = network("resnet18"), images(64)
    for name, made in (("KPCA_CAM", {"kernel": "rbf", "gamma": 0.001}), ("FEM", {"k": 1})):
        ours, theirs = both(name, model, [model.layer3], batch, None, made=made)
        assert_same_maps(ours, theirs)
        assert np.abs(ours - getattr(compat, name)(model, [model.layer3])(batch)).max() > 1e-2
    with pytest.raises(ValueError, match="no kernel 'cubic'; choose linear"):
        compat.KPCA_CAM(model, [model.layer3], kernel="cubic")
    with pytest.raises(ValueError, match="gamma must be a number above 0"):
        compat.KPCA_CAM(model, [model.layer3], gamma=0)


# ------------------------------------------------------------------------------------------ factorisation
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
    with pytest.raises(ValueError, match="number of components must be at least 1"):
        dff.dff(np.ones((1, 2, 3, 3)), 0)


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


# ------------------------------------------------------------------------------------------ other parts
def test_guided_backpropagation_gives_grad_cams_gradient_and_leaves_the_model():
    model, batch = network("resnet18"), images(64)
    before = [type(module) for module in model.modules()], [id(module) for module in model.modules()]
    ours = compat.GuidedBackpropReLUModel(model)(batch[:1], 2)
    assert before == (
        [type(module) for module in model.modules()],
        [id(module) for module in model.modules()],
    )
    theirs = pytorch_grad_cam.GuidedBackpropReLUModel(copy.deepcopy(model))(batch[:1].clone(), 2)
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


# ------------------------------------------------------------------------------------------ hooks
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


REDUCTIONS = [m.oracle for m in METHODS.values() if isinstance(m.kind, Reduction) and m.slope == "score"]
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
    transform = pytorch_grad_cam.utils.reshape_transforms.fasterrcnn_reshape_transform
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

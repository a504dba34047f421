"""The mirrored interface: a migration is one import line, and what is not mirrored is refused by name."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import xaimed_core.compat as compat
from tests.compat.conftest import assert_same_maps, images, network, without_inplace
from xaimed_core import METHODS
from xaimed_core.compat.utils import model_targets
from xaimed_core.semantics import GRAD_CAM_FORMULAS

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
upstream_image = importlib.import_module("pytorch_grad_cam.utils.image")
upstream_targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")

CAMS = [method.oracle for method in METHODS.values() if method.oracle]

SCRIPT = """
import numpy as np
from {package} import GradCAM, XGradCAM
from {package}.layer_cam import LayerCAM
from {package}.utils.image import preprocess_image, show_cam_on_image
from {package}.utils.model_targets import ClassifierOutputTarget

rgb = np.random.default_rng(0).random((96, 96, 3), dtype=np.float32)
input_tensor = preprocess_image(rgb, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
target_layers = [model.layer3[-1]]
targets = [ClassifierOutputTarget(2)]
with GradCAM(model=model, target_layers=target_layers) as cam:
    grayscale_cam = cam(input_tensor=input_tensor, targets=targets)
    grayscale_cam = grayscale_cam[0, :]
    visualization = show_cam_on_image(rgb, grayscale_cam, use_rgb=True)
    model_outputs = cam.outputs
smoothed = XGradCAM(model, target_layers)(input_tensor, targets=None, aug_smooth=True)
layer_cam = LayerCAM(model=model, target_layers=target_layers, reshape_transform=None)
layer_cam.batch_size = 32
layered = layer_cam(input_tensor=input_tensor, targets=targets, aug_smooth=False, eigen_smooth=False)
"""


def test_the_same_script_runs_with_only_the_import_replaced():
    model = network("resnet18")
    found = []
    for package in ("pytorch_grad_cam", "xaimed_core.compat"):
        names: dict[str, object] = {"model": model}
        with without_inplace(model):
            exec(compile(SCRIPT.format(package=package), package, "exec"), names)
        found.append(names)
    theirs, ours = found
    for name in ("smoothed", "layered"):
        assert_same_maps(ours[name], theirs[name])
    assert_same_maps(ours["grayscale_cam"][None], theirs["grayscale_cam"][None])
    assert np.abs(ours["visualization"].astype(int) - theirs["visualization"]).max() <= 2, "in levels of 255"
    torch.testing.assert_close(ours["model_outputs"], theirs["model_outputs"].detach(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", CAMS)
def test_every_method_has_its_class_at_grad_cams_module_path(name):
    upstream = getattr(pytorch_grad_cam, name)
    module = importlib.import_module(upstream.__module__.replace("pytorch_grad_cam", "xaimed_core.compat"))
    assert getattr(module, name) is getattr(compat, name)


@pytest.mark.parametrize("name", CAMS)
def test_constructors_and_calls_take_grad_cams_arguments_in_its_order(name):
    theirs, ours = getattr(pytorch_grad_cam, name), getattr(compat, name)
    for function in ("__init__", "__call__", "forward"):
        wanted = list(inspect.signature(getattr(theirs, function)).parameters)
        assert list(inspect.signature(getattr(ours, function)).parameters)[: len(wanted)] == wanted


REFUSED = {"AblationLayerFasterRCNN"}
MIRRORED = (
    "ablation_layer",
    "activations_and_gradients",
    "feature_factorization.deep_feature_factorization",
    "finer_cam",
    "fullgrad_cam",
    "metrics.arcc",
    "metrics.cam_mult_image",
    "metrics.perturbation_confidence",
    "metrics.road",
    "refine_cam",
    "sess",
    "sobel_cam",
    "utils.find_layers",
    "utils.image",
    "utils.model_targets",
    "utils.reshape_transforms",
    "utils.svd_on_activations",
)
INNER = {"_CAMFusion", "GuidedBackpropReLU", "GuidedBackpropReLUasModule"}
"""Parts of a class's insides."""


def test_every_name_of_grad_cam_is_mirrored_or_refused():
    public = {name for name in vars(pytorch_grad_cam) if name[0].isupper() or name == "run_dff_on_image"}
    assert public - REFUSED <= set(compat.__all__)


@pytest.mark.parametrize("module", MIRRORED)
def test_every_function_and_class_of_a_module_is_there(module):
    upstream = importlib.import_module(f"pytorch_grad_cam.{module}")
    ours = importlib.import_module(f"xaimed_core.compat.{module}")
    defined = {n for n, v in vars(upstream).items() if getattr(v, "__module__", "") == upstream.__name__}
    assert defined
    assert defined - REFUSED - INNER <= vars(ours).keys()


def test_the_epsilons_belong_to_methods_that_exist():
    assert set(GRAD_CAM_FORMULAS) <= set(METHODS)


def test_what_is_not_mirrored_is_refused_with_what_to_do():
    model = network("resnet18")
    layers = [model.layer4]
    refused = {
        "ratio_channels_to_ablate": lambda: compat.AblationCAM(model, layers, ratio_channels_to_ablate=0.5),
        "Own": lambda: compat.AblationCAM(
            model, layers, ablation_layer=type("Own", (compat.AblationLayer,), {})()
        ),
        "AblationLayerFasterRCNN": lambda: exec("from xaimed_core.compat import AblationLayerFasterRCNN"),
    }
    for name, use in refused.items():
        with pytest.raises(compat.NotMirroredError, match=f"does not mirror {re.escape(name)}"):
            use()
    with pytest.raises(AttributeError, match="has no 'GradCam'"):
        _ = compat.GradCam


def test_grad_cams_own_ablation_layers_are_understood():
    model = network("resnet18")
    for layer, dim in (
        (pytorch_grad_cam.AblationLayer(), 1),
        (pytorch_grad_cam.ablation_layer.AblationLayerVit(), -1),
        (None, 1),
    ):
        assert compat.AblationCAM(model, [model.layer4], ablation_layer=layer).channel_dim == dim


# ------------------------------------------------------------------------------------------------- behaviour
def test_maps_are_float32_arrays_of_the_images_size_and_nothing_of_the_model_changes():
    model = network("resnet18")
    model.zero_grad()  # grad-cam leaves its gradients behind
    batch = images(64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name in set(CAMS) - {"AblationCAM", "ScoreCAM"}:
        maps = getattr(compat, name)(model, [model.layer3])(batch)
        assert maps.dtype == np.float32
        assert maps.shape == (3, 64, 64)
        assert 0 <= maps.min() <= maps.max() <= 1
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_in_training_mode_is_put_into_eval_mode_as_grad_cam_does():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).train()
    compat.GradCAM(model, [model[1]])
    assert not model.training


def test_exceptions_inside_the_block_come_out():
    model = network("resnet18")
    with pytest.raises(IndexError), compat.GradCAM(model, [model.layer4]):
        raise IndexError


def test_token_layers_without_reshape_transform_are_refused_with_the_hint():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3, 8)
            self.head = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x.flatten(2).transpose(1, 2)).mean(1))

    model = Tokens()
    batch = torch.randn(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"\(2, 16, 8\) is not .*pass reshape_transform"):
        compat.XGradCAM(model, [model.embed])(batch)
    with pytest.raises(ValueError, match=r"reshape_transform made \(2, 16, 8\) of \(2, 16, 8\)"):
        compat.XGradCAM(model, [model.embed], reshape_transform=lambda tokens: tokens)(batch)


def test_a_wrong_number_of_targets_is_an_error_not_a_blank_map():
    model = network("resnet18")
    with pytest.raises(ValueError, match="1 targets for 3 images"):
        compat.GradCAM(model, [model.layer4])(images(64), [model_targets.ClassifierOutputTarget(0)])


def test_importing_compat_loads_neither_grad_cam_nor_opencv():
    code = (
        "import sys, xaimed_core.compat.utils.image, xaimed_core.compat.utils.model_targets; "
        "print([m for m in ('pytorch_grad_cam', 'cv2', 'torchvision', 'ttach', 'sklearn', 'PIL') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"

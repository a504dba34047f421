"""The maps of the real grad-cam package of a small ViT, and by the definition where it has none."""

from __future__ import annotations

import copy
import importlib

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import xaimed_core.compat as compat
from tests.compat.conftest import ONE_PASS, assert_same_maps, images, reference
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget

pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
scale_cam_image = importlib.import_module("pytorch_grad_cam.utils.image").scale_cam_image


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    """A small ViT of torchvision, 4 x 4 tokens and a class token."""
    from torchvision.models import VisionTransformer

    from xaimed_bench.models import calibrate_on_phantoms

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = VisionTransformer(
            64, 16, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=4
        ).eval()
    calibrate_on_phantoms(model, size=64)
    return model


def grid_of_tokens(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("method", [name for name in ONE_PASS if name != "ShapleyCAM"])
def test_reshape_transform_opens_a_vit(method, vit):
    layer = vit.encoder.layers[-1].ln_1
    batch = images(64, 3).repeat_interleave(4, 0)
    targets = [ClassifierOutputTarget(k) for k in range(4)] * 3
    given = {"reshape_transform": grid_of_tokens}
    np.random.seed(3)  # noqa: NPY002 # RandomCAM's numbers, for both
    ours = getattr(compat, method)(vit, [layer], **given)(batch, targets)
    np.random.seed(3)  # noqa: NPY002
    assert_same_maps(ours, reference(method, vit, [layer], batch, targets, **given))


def test_shapleycam_opens_a_vit_as_its_definition_does(vit):
    """grad-cam reads no tokens there ("Invalid activation shape. Get 3."). By autograd twice, in float64."""
    layer, batch = vit.encoder.layers[-1].ln_1, images(64, 4)
    targets = [ClassifierOutputTarget(k) for k in range(4)]
    ours = compat.ShapleyCAM(vit, [layer], reshape_transform=grid_of_tokens)(batch, targets)
    kept: list[Tensor] = []
    exact = copy.deepcopy(vit).double()
    exact.encoder.layers[-1].ln_1.register_forward_hook(
        lambda _m, _i, output: kept.append(output) or output.clone()
    )
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        score = exact(batch.double()).diag().sum()
        (slope,) = torch.autograd.grad(score, kept[0], create_graph=True)
        (bend,) = torch.autograd.grad(slope, kept[0], kept[0].detach())
    assert bend.abs().max() > 1e-2 * slope.abs().max()
    weights = grid_of_tokens((slope - bend / 2).detach()).mean((2, 3), keepdim=True)
    raw = (weights * grid_of_tokens(kept[0].detach())).sum(1).numpy()
    assert_same_maps(ours, scale_cam_image(scale_cam_image(np.maximum(raw, 0), (64, 64))))


def test_upstreams_own_reshape_transforms_are_there(vit):
    from pytorch_grad_cam.utils import reshape_transforms as theirs

    from xaimed_core.compat.utils import reshape_transforms as ours

    tokens = torch.randn(2, 17, 5)
    assert torch.equal(ours.vit_reshape_transform(tokens, 4, 4), theirs.vit_reshape_transform(tokens, 4, 4))
    windows = torch.randn(2, 6, 5)
    assert torch.equal(
        ours.swinT_reshape_transform(windows, 2, 3), theirs.swinT_reshape_transform(windows, 2, 3)
    )


def test_ablationcam_of_a_vit_ablates_the_channel_in_every_token(vit):
    """grad-cam writes minimum - 1e7 into signed activations, so the comparison is with the definition, in float64."""
    layer = vit.encoder.layers[-1].mlp
    batch = images(64, 2)
    cam = compat.AblationCAM(
        vit, [layer], reshape_transform=grid_of_tokens, ablation_layer=compat.AblationLayerVit()
    )
    ours = cam(batch, [ClassifierOutputTarget(1)] * 2)
    vit64 = vit.double()
    try:
        expected = ablated_by_hand(vit64, layer, batch.double(), category=1)
    finally:
        vit.float()
    assert_same_maps(ours, expected)


def ablated_by_hand(model: nn.Module, layer: nn.Module, batch: Tensor, category: int) -> np.ndarray:
    def score(channel: int | None) -> Tensor:
        def zero(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            kept.append(output)
            ablated = output.clone()
            if channel is not None:
                ablated[..., channel] = 0
            return ablated

        hook = layer.register_forward_hook(zero)
        with torch.no_grad():
            found = model(batch)[:, category]
        hook.remove()
        return found

    kept: list[Tensor] = []
    whole = score(None)
    drops = torch.stack([(whole - score(k)) / whole for k in range(kept[0].shape[-1])], 1)
    raw = (grid_of_tokens(kept[0]) * drops[:, :, None, None]).sum(1).numpy()
    return scale_cam_image(scale_cam_image(np.maximum(raw, 0), tuple(batch.shape[:1:-1])))

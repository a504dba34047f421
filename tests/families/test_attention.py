"""Methods of attention on published transformers, against what these say of it themselves, and against torch-cam."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.families import published as p
from tests.families.table import TINY_VIT
from xaimed_core import explain

TARGET = 1


def alike(model: nn.Module, other: nn.Module | None = None) -> nn.Module:
    """Weights that make attention attend: drawn from a seed, or another's."""
    if other is not None:
        model.load_state_dict(other.state_dict())
        return model.eval()
    drawn = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(2 * torch.randn(parameter.shape, generator=drawn) / parameter.shape[1] ** 0.5)
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def rolled_out(attentions: list[Tensor]) -> Tensor:
    """Of probabilities ``[n, heads, t, t]``, block by block."""
    flow = torch.eye(attentions[0].shape[-1])
    for chance in attentions:
        flow = (chance.mean(1) + torch.eye(chance.shape[-1])) / 2 @ flow
    return flow[:, 0, 1:].unflatten(1, (8, 8))


def test_rollout_of_timms_fused_attention_is_that_of_the_probabilities_it_gives_unfused(images):
    pytest.importorskip("timm")
    options = {**TINY_VIT, "depth": 3}
    fused = alike(p.timm("vit_tiny_patch16_224", **options))
    unfused, seen = alike(p.unfused("vit_tiny_patch16_224", **options), fused), list[Tensor]()
    assert fused.blocks[0].attn.fused_attn
    assert not unfused.blocks[0].attn.fused_attn
    for block in unfused.blocks:
        block.attn.attn_drop.register_forward_hook(lambda _m, _i, chance: seen.append(chance.detach()))
    unfused(images)
    expected = rolled_out(seen)
    assert expected.std() > 1e-3
    for model in (fused, unfused):
        found = explain(model, images, "attentionrollout", layout="infer").raw["attentionrollout"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    both = [
        explain(m, images, "legrad", targets=TARGET, layout="infer").raw["legrad"] for m in (fused, unfused)
    ]
    assert both[1].std() > 0
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-5 * both[1].abs().max().item())


def test_rollout_of_transformers_is_that_of_the_attentions_it_returns(images):
    pytest.importorskip("transformers")
    config = {"intermediate_size": 64, **p.HUB_VIT}
    fused = alike(p.transformers("ViTForImageClassification", **config))
    eager = alike(p.transformers("ViTForImageClassification", attn_implementation="eager", **config), fused)
    with torch.no_grad():
        expected = rolled_out(list(eager(images, output_attentions=True).attentions))
    assert expected.std() > 1e-3
    found = explain(fused, images, "attentionrollout", layout="infer").raw["attentionrollout"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------- torch-cam
def test_legrad_is_torch_cams(images):
    methods = pytest.importorskip("torchcam.methods")
    model = alike(p.torchvision_vit())
    with methods.LeGrad(model, list(model.encoder.layers)) as extractor:
        (expected,) = extractor.compute_cams(TARGET, model(images), normalized=False)
    found = explain(model, images, "legrad", targets=TARGET, layout="infer").raw["legrad"]
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())

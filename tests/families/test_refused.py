"""What has no layers to look into is refused with what to explain instead; a model with such a part is explained."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from tests.families.published import SWIN, nest, timm
from tests.families.written import FeaturesAndLogits, Pooled
from xaimed_core import explain
from xaimed_core.layout import LayoutError

pytestmark = [
    # people have such models, whatever torch advises
    pytest.mark.filterwarnings("ignore:`torch.jit.(script|trace|trace_method)` is deprecated"),
    # of the group norm's own check of its input
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean:torch.jit.TracerWarning"),
]


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Pooled(2, 3, 8, 12).eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_models_without_modules_are_refused_by_what_they_are(model, images):
    program = torch.export.export(model, (images,))
    for made, words in (
        (
            torch.jit.trace(model, images),
            "traced or scripted by torch.jit.*explain the network it was made from",
        ),
        (torch.jit.script(model), "traced or scripted by torch.jit.*explain the network it was made from"),
        (program, "model is a ExportedProgram.*the network itself"),
        (
            program.module(),
            "an exported program, in whose graph no layers are left.*explain the network it was made from",
        ),
    ):
        with pytest.raises(TypeError, match=words):
            explain(made, images, "xgradcam", "features", 1)


def test_a_traced_graph_of_modules_is_explained(model, images):
    found = explain(fx.symbolic_trace(model), images, "xgradcam", "norm", 1)
    assert torch.equal(found.maps["xgradcam"], explain(model, images, "xgradcam", "norm", 1).maps["xgradcam"])


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_model_with_a_compiled_part_is_explained_outside_of_it(model, images, how):
    expected = explain(model, images, ("xgradcam", "ablationcam"), "norm", 1)
    model.features = (
        torch.jit.script(model.features) if how == "script" else torch.jit.trace(model.features, images)
    )
    for layer in ("norm", None):
        found = explain(model, images, ("xgradcam", "ablationcam"), layer, 1)
        for method, maps in found.maps.items():
            torch.testing.assert_close(maps, expected.maps[method], rtol=0, atol=1e-5)
    if how == "script":
        with pytest.raises(TypeError, match=r"layer features is scripted.*wrap that part in nn.Sequential"):
            explain(model, images, "xgradcam", "features", 1)
        model.features = nn.Sequential(model.features)
    hooks = len(model.features._forward_hooks)
    assert explain(model, images, "xgradcam", "features", 1).raw["xgradcam"].any()
    assert len(model.features._forward_hooks) == hooks


@pytest.mark.parametrize(
    ("name", "layer", "why"),
    [
        ("nest", "levels.0.transformer_encoder.0.norm1", "windows or blocks"),
        ("hiera_tiny_224", "blocks.0.norm1", "another order than row by row"),
        ("swinv2_tiny_window8_256", "layers.0.blocks.1.attn.proj", "windows of the image in its batch"),
        ("efficientvim_m1", "norm.0", "no axis of the image"),
    ],
)
def test_places_in_windows_and_tokens_without_any_are_refused(name, layer, why):
    pytest.importorskip("timm")
    sizes = SWIN if "swin" in name else {"img_size": 64} if "hiera" in name else {}
    model = nest().eval() if name == "nest" else timm(name, **sizes).eval()
    size = 224 if "vim" in name else 64
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with pytest.raises(LayoutError, match=why):
        explain(model, images, "xgradcam", layer, 1, layout="infer")


def test_several_outputs_are_refused_until_one_is_chosen(images):
    model = FeaturesAndLogits().eval()
    with pytest.raises(ValueError, match=r"2 tensors that could be the scores.*\n.*output=1"):
        explain(model, images, "xgradcam")
    assert (
        "scores: output 1"
        in explain(model, images, "xgradcam", output=1, targets=0).route["xgradcam"].remarks
    )

"""Layers that hold tokens or channels last: read, refused or inferred, and put back."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from xaimed_core import ChannelsFirst, ChannelsLast, Tokens, explain
from xaimed_core.layout import choose_layout


@pytest.mark.parametrize(
    ("shape", "image", "found"),
    [
        ((2, 197, 768), (224, 224), Tokens((14, 14), 1)),
        ((2, 196, 768), (224, 224), Tokens((14, 14), 0)),
        ((2, 198, 192), (224, 224), Tokens((14, 14), 2)),
        ((2, 1 + 14 * 28, 8), (112, 224), Tokens((14, 28), 1)),
        ((2, 7, 7, 768), (224, 224), ChannelsLast()),
        ((2, 768, 7, 7), (224, 224), ChannelsFirst()),
        ((2, 64, 55, 55), (224, 224), ChannelsFirst()),
        ((2, 64, 3, 7), (112, 224), ChannelsFirst()),
        ((2, 8, 4, 6, 6), (32, 48, 48), ChannelsFirst()),
    ],
)
def test_a_layout_is_inferred_from_the_shape_and_the_images_aspect(shape, image, found):
    assert choose_layout("infer", shape, image) == found


@pytest.mark.parametrize("shape", [(2, 197, 768), (2, 7, 7, 768), (2, 10), (2, 197)])
def test_what_is_not_channels_first_is_refused_with_a_hint(shape):
    with pytest.raises(ValueError, match="layout="):
        choose_layout(None, shape, (224, 224))


@pytest.mark.parametrize(
    ("layout", "shape"),
    [(ChannelsFirst(), (2, 5, 3, 4)), (ChannelsLast(), (2, 3, 4, 5)), (Tokens((3, 4), 2), (2, 14, 5))],
    ids=str,
)
def test_a_layout_reads_and_puts_back(layout, shape):
    output = torch.randn(shape)
    maps = layout.to_maps(output)
    assert maps.shape == (2, 5, 3, 4)
    assert torch.equal(layout.from_maps(maps, output), output)
    changed = layout.from_maps(maps + 1, output)
    assert torch.equal(layout.to_maps(changed), maps + 1)


def test_tokens_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="describes 1 \\+ 12 tokens"):
        Tokens((3, 4), 1).to_maps(torch.zeros(2, 12, 5))


def vit() -> tuple[nn.Module, str, Tokens]:
    model = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=4
    )
    nn.init.normal_(model.heads.head.weight)
    return model.eval(), "encoder.layers.encoder_layer_1.ln_1", Tokens((4, 4), 1)


def swin() -> tuple[nn.Module, str, ChannelsLast]:
    model = torchvision.models.SwinTransformer(
        patch_size=[4, 4], embed_dim=12, depths=[2, 2], num_heads=[2, 2], window_size=[4, 4], num_classes=4
    )
    return model.eval(), "features.3.1.norm1", ChannelsLast()


def token_models() -> dict[str, tuple[nn.Module, str, Tokens | ChannelsLast]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return {"vit": vit(), "swin": swin()}


@pytest.mark.parametrize("name", ["vit", "swin"])
@pytest.mark.parametrize(
    "methods", [("xgradcam", "gradcam", "layercam", "eigengradcam"), ("ablationcam",)], ids=str
)
def test_a_transformer_is_explained_by_its_layout_given_or_inferred(name, methods):
    model, layer, layout = token_models()[name]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = explain(model, images, methods, layer, layout=layout)
    inferred = explain(model, images, methods, layer, layout="infer")
    for method in methods:
        assert given.raw[method].shape == (2, 4, 4)
        assert given.raw[method].std() > 0
        assert torch.equal(given.maps[method], inferred.maps[method])


@pytest.mark.parametrize("name", ["vit", "swin"])
def test_a_transformers_channel_is_ablated_in_all_its_tokens(name):
    model, layer, layout = token_models()[name]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module = model.get_submodule(layer)
    drops = []
    with torch.no_grad():
        whole = model(images)[:, 1]
        for k in range(module.normalized_shape[0]):
            handle = module.register_forward_hook(
                lambda _m, _i, out, k=k: out.index_fill(-1, torch.tensor(k), 0.0)
            )
            drops.append(whole - model(images)[:, 1])
            handle.remove()
    expected = torch.stack(drops, 1)
    found = explain(model, images, "ablationcam", layer, targets=1, layout=layout).weights["ablationcam"]
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4 * expected.abs().max().item())


def test_the_tokens_of_frames_folded_into_the_batch_are_read_as_those_of_images():
    """Not as a signal of as many positions as there are tokens."""

    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit, self.layer, _ = vit()

        def forward(self, clips: Tensor) -> Tensor:
            n, _, t = clips.shape[:3]
            return self.vit(clips.transpose(1, 2).flatten(0, 1)).view(n, t, -1).mean(1)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Frames().eval()
    clips = torch.randn(2, 3, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    layer = f"vit.{model.layer}"
    found = explain(model, clips, "xgradcam", layer, 1, layout="infer")
    expected = explain(model, clips, "xgradcam", layer, 1, layout=Tokens((4, 4), 1))
    assert found.maps["xgradcam"].shape == (10, 32, 32)
    assert torch.equal(found.maps["xgradcam"], expected.maps["xgradcam"])

"""Which layer is explained where none is given: on the way to the score, with places, the last before its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from xaimed_core import ChannelsLast, Tokens, explain


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def chosen(model: nn.Module, **options: object) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return explain(model.eval(), images(), "eigencam", **options).layer


class ConvNormActivation(nn.Sequential):
    """Called after a norm, but no norm."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())


class Classifier(nn.Module):
    def __init__(self, features: nn.Module, width: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(width, 4)

    def forward(self, images: Tensor) -> Tensor:
        found = self.features(images)
        return self.head(found.mean((2, 3)) if found.ndim == 4 else found[:, 0])


@pytest.mark.parametrize("layout", [None, "infer"])
def test_a_convolutional_network_is_explained_at_its_last_block_with_or_without_a_layout(layout):
    features = nn.Sequential(ConvNormActivation(3, 8), ConvNormActivation(8, 8), ConvNormActivation(8, 8))
    assert chosen(Classifier(features, 8), layout=layout) == "features"


def test_a_layer_that_is_the_scores_already_is_not_chosen():
    """As the classifier of a segmentation network: its map would be the segmentation itself."""

    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.classifier = ConvNormActivation(3, 8), nn.Conv2d(8, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            found = self.classifier(self.backbone(images))
            return nn.functional.interpolate(found, size=images.shape[2:], mode="bilinear")

    assert chosen(Segmenter()) == "backbone"


def test_a_block_that_ends_in_place_on_an_instance_norm_is_chosen_rather_than_its_shortcut():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True))
            self.shortcut = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x)
            y += self.shortcut(x)
            return torch.relu_(y)

    features = nn.Sequential(ConvNormActivation(3, 8), Residual())
    assert chosen(Classifier(features, 8)) == "features"


class Attention(nn.Module):
    """Over tokens, its probabilities the output of a module, as in CaiT."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.probabilities, self.out = (
            nn.Linear(width, 3 * width),
            nn.Softmax(-1),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (2, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        mixed = self.probabilities(q @ k.mT * q.shape[-1] ** -0.5) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Sequential):
    """With a norm of its own, as in EVA and ConvNeXt V2."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(width, 2 * width), nn.GELU(), nn.LayerNorm(2 * width), nn.Linear(2 * width, width)
        )


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width)
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Stage(nn.Module):
    """A norm of its own before the blocks and one behind them, as in Segformer and PVT."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.before, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Transformer(nn.Module):
    """``pooled``: the mean over tokens reads them all, so that the last block's MLP counts, too."""

    def __init__(self, *, pooled: bool = False, prefix: int = 1) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.prefix = nn.Parameter(torch.randn(1, prefix, 8))
        self.stages = nn.ModuleList((Stage(1, 8), Stage(1, 8)))
        self.head = nn.Linear(8, 4)
        self.pooled = pooled

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).mT
        x = torch.cat([self.prefix.expand(len(x), -1, 8), x], 1)
        for stage in self.stages:
            x = stage(x)
        return self.head(x.mean(1) if self.pooled else x[:, 0])


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("layout", ["infer", Tokens((4, 4), 1)], ids=str)
def test_a_transformer_is_explained_at_the_first_norm_of_its_last_block(pooled, layout):
    assert chosen(Transformer(pooled=pooled), layout=layout) == "stages.1.blocks.0.norm1"


def test_a_head_that_starts_at_zero_changes_nothing():
    model = Transformer().eval()
    nn.init.zeros_(model.head.weight)
    assert explain(model, images(), "eigencam", layout="infer").layer == "stages.1.blocks.0.norm1"


def test_tokens_are_not_read_as_one_place():
    """5 tokens of a square image are a class token and 2 x 2 places, not 4 registers and one."""
    model = Transformer().eval()
    small = images(16)
    inferred = explain(model, small, "eigencam", "stages.1.blocks.0.norm1", layout="infer")
    given = explain(model, small, "eigencam", "stages.1.blocks.0.norm1", layout=Tokens((2, 2), 1))
    assert torch.equal(inferred.maps["eigencam"], given.maps["eigencam"])


class Moved(nn.Module):
    """A transformer whose channels are last, and behind it the axes moved to where convolutions have them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.block = Windowed()
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.patches(images)).mean((2, 3)))


class Windowed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x + self.mlp(self.norm(x))
        return x.permute(0, 3, 1, 2)


def test_axes_that_are_moved_are_followed():
    assert chosen(Moved()) == "block"
    assert chosen(Moved(), layout=ChannelsLast()) == "block.norm"


class Windows(nn.Module):
    """Places as windows and places within each, ``[n, windows, places, c]``, as NesT holds them; the last 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList((Block2(), Block2()))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).permute(0, 2, 3, 1)  # n 8 8 c
        x = self.blocks[0](x)[:, ::2, ::2]
        x = self.blocks[1](x.reshape(len(x), 1, 16, 8)).reshape(x.shape)
        return self.head(self.norm(x).mean((1, 2)))


class Block2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.mlp = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm1(x)).relu()


def test_places_in_windows_are_not_read_as_rows_and_columns_nor_an_earlier_block_taken_instead():
    assert chosen(Windows(), layout="infer") == "norm"
    with pytest.raises(ValueError, match="layout="):
        explain(Windows().eval(), images(), "eigencam", "blocks.1.norm1", layout="infer")


class Sided(nn.Module):
    """One row of a second input for each image, added: a single image comes out as all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = ConvNormActivation(3, 8)
        self.auxiliary = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)
        self.side = torch.randn(2, 8)

    def forward(self, images: Tensor) -> Tensor:
        found = self.features(images)
        self.auxiliary(found)
        return self.head(found.mean((2, 3)) + self.side)


def test_a_model_that_gives_other_rows_for_one_image_is_looked_at_with_all():
    """Else nothing is known of the way to the score, and the auxiliary layer comes last."""
    assert chosen(Sided()) == "features"


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = (
            ConvNormActivation(3, 8),
            ConvNormActivation(8, 8),
            ConvNormActivation(8, 8),
        )
        self.heads = nn.ModuleList((nn.Linear(8, 4), nn.Linear(8, 4)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(images)
        return self.heads[0](self.left(x).mean((2, 3))), self.heads[1](self.right(x).mean((2, 3)))


def test_the_way_to_one_output_is_not_remembered_for_another():
    model = TwoHeads().eval()
    for _ in range(2):
        assert explain(model, images(), "xgradcam", output=lambda out: out[0]).layer == "left"
        assert explain(model, images(), "xgradcam", output=lambda out: out[1]).layer == "right"


def test_a_head_that_autograd_cannot_follow_is_named_as_the_cause():
    class NoGradient(Classifier):
        def forward(self, images: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(images)

    with pytest.raises(ValueError, match="autograd finds no layer with places on the way to the score"):
        chosen(NoGradient(ConvNormActivation(3, 8), 8))


def test_a_network_that_runs_twice_is_named_as_the_cause():
    class Flipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, images: Tensor) -> Tensor:
            return sum(self.head(self.conv(x).mean((2, 3))) for x in (images, images.flip(3)))

    with pytest.raises(ValueError, match="called more than once in one forward, as conv is"):
        explain(Flipped().eval(), torch.randn(1, 3, 8, 8), "xgradcam")

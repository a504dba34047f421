"""What a table of single calls cannot hold: sentences for every method, and for parts of a network."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.core.bad_input.given import NAN, NET, SCRIPT_INSIDE, Aside, E, X
from tests.core.conftest import AT_ONE_LAYER, OF_ANY_NETWORK, fitting
from xaimed_core import METHODS, ChannelsFirst, explain, road
from xaimed_core.outputs import scores_in


@pytest.mark.parametrize("method", METHODS)
def test_every_method_names_images_that_are_nan(method):
    model, place = fitting(method, NET, "block")
    with pytest.raises(ValueError, match="could be made: the images hold NaN or infinite"):
        explain(model, X * NAN, method, **place)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in OF_ANY_NETWORK])
def test_methods_of_attention_name_what_they_need(method):
    model, place = fitting(method, NET, "block")
    windows = copy.deepcopy(model)
    windows.blocks[0].attention = Mixing()
    for changed, at, words in (
        (
            NET,
            {"layer": "block"},
            f"{method} reads what the tokens .* and layer block holds none; give a layer of",
        ),
        (model, {**place, "layer": "norm"}, f"{method} finds the blocks .* and norm lies in no list of them"),
        (
            windows,
            place,
            f"{method} needs one attention of all tokens to all in each block, and blocks.0 has not",
        ),
        (
            Backwards(model),
            {**place, "layer": "whole.blocks.1.norm1"},
            f"{method} needs blocks that run once, in",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            explain(changed, X, method, targets=1, **at)


def test_a_gradient_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="gradient is not"):
        explain(NET, X, "xgradcam", "block", targets=lambda row: (row[0] - row[0].detach()).sqrt())


class Mixing(nn.Module):
    """In attention's place: every token reads the mean of all."""

    def forward(self, x: Tensor, *_: Tensor, need_weights: bool) -> tuple[Tensor, None]:
        return x.mean(1, keepdim=True).expand_as(x) + 0 * x, None


class Backwards(nn.Module):
    """Runs a transformer's blocks from the last to the first."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.whole = copy.deepcopy(model)

    def forward(self, images: Tensor) -> Tensor:
        whole = self.whole
        patches = whole.stem(images).flatten(2).mT
        tokens = torch.cat([whole.token.expand(len(patches), 1, 16), patches], 1)
        for block in reversed(list(whole.blocks)):
            tokens = block(tokens)
        return whole.head(whole.norm(tokens)[:, 0])


class Wandering(nn.Module):
    """Calls one convolution twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.never = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.twice(self.twice(images)).mean((2, 3))


@pytest.mark.parametrize(
    ("layer", "words"), [("twice", "called more than once"), ("never", "never reached layer never")]
)
def test_a_layer_off_the_way_is_named(layer, words):
    with pytest.raises(ValueError, match=words):
        explain(Wandering(), X, "xgradcam", layer)


@pytest.mark.parametrize(
    "output", [{"scores": torch.zeros(1)}, (), "text", 3.0], ids=["mapping", "tuple", "text", "number"]
)
def test_an_output_without_logits_is_named(output):
    with pytest.raises(TypeError, match="no scores were found"):
        scores_in(output, 3)


def test_channels_last_is_not_read_as_channels_first():
    swin_like = nn.Sequential(nn.Conv2d(3, 16, 4, 4), Aside(lambda y: y.permute(0, 2, 3, 1)))
    wanted = {"layer": "1", "targets": lambda row: row.sum()}
    with pytest.raises(ValueError, match="ChannelsLast"):
        explain(swin_like, X, "layercam", **wanted)
    forced = explain(swin_like, X, "layercam", layout=ChannelsFirst(), **wanted)
    assert forced.raw["layercam"].shape == (3, 6, 16)


@pytest.mark.filterwarnings("ignore:.* divides by each channel's sum")
@pytest.mark.parametrize("method", AT_ONE_LAYER)
def test_a_model_with_a_compiled_part_is_explained(method):
    plain = nn.Sequential(SCRIPT_INSIDE[0], nn.ReLU(), *SCRIPT_INSIDE[2:])
    for mode in (False, True):
        nets = (SCRIPT_INSIDE.train(mode), plain.train(mode))
        found, expected = (explain(net, X, method, "0", targets=1).maps[method] for net in nets)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "removed",
    [torch.tensor([0.2, 0.4]), np.array([0.2, 0.4]), (p for p in (0.2, 0.4))],
    ids=["tensor", "array", "generator"],
)
def test_fractions_come_in_any_sequence(removed):
    expected = road(NET, X, E, removed=[0.2, 0.4], noise=0.0)
    assert torch.allclose(road(NET, X, E, removed=removed, noise=0.0).score, expected.score, atol=1e-5)

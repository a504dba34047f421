"""Wrong input gets an error that names it, before or after the forward, and never a map."""

import pytest
import torch
from torch import Tensor, nn

from xaimed_core import ChannelsFirst, explain
from xaimed_core.targets import scores_in


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"methods": ()}, ValueError, "no method was asked for"),
        ({"methods": "xgradcma"}, ValueError, "no CAM method 'xgradcma'"),
        ({"layer": "blok"}, ValueError, "did you mean block"),
        ({"layer": nn.ReLU()}, ValueError, "not a module of this model"),
        ({"layer": []}, ValueError, "no layer was given"),
        ({"layer": "head"}, ValueError, r"\(3, 5\) is not \[n, channels"),
        ({"targets": 5}, IndexError, r"\[5\] is out of range: the model has the classes 0 to 4"),
        ({"targets": [-1, 0, 0]}, IndexError, r"\[-1\] is out of range"),
        ({"targets": [0, 1]}, ValueError, "2 targets for 3 images"),
        ({"targets": torch.tensor([0.5, 1, 2])}, TypeError, "whole class numbers"),
        ({"targets": ["a", "b", "c"]}, TypeError, "class numbers"),
        ({"targets": lambda row: row[:2]}, ValueError, "one number per image"),
        ({"targets": lambda row: row.detach().sum()}, ValueError, "does not depend"),
        ({"semantics": "paper"}, ValueError, "no semantics 'paper'"),
    ],
)
def test_a_wrong_argument_is_named(net, images, changes, error, words):
    arguments = {"methods": "xgradcam", "layer": "block", **changes}
    with pytest.raises(error, match=words):
        explain(net, images, **arguments)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda x: x[:0], ValueError, "the batch is empty"),
        (lambda x: x[0, 0], ValueError, "add the batch axis"),
        (lambda x: (x * 255).to(torch.uint8), TypeError, "floating point"),
        (lambda x: x.index_fill(3, torch.tensor(2), torch.nan), ValueError, "images hold NaN"),
        (lambda x: x.index_fill(3, torch.tensor(2), torch.inf), ValueError, "images hold NaN or inf"),
        (lambda x: x.numpy(), TypeError, "must be a tensor"),
        (lambda x: x.to("meta"), ValueError, "the model is on cpu, the images on meta"),
    ],
)
@pytest.mark.parametrize("method", ["xgradcam", "ablationcam"])
def test_wrong_images_are_named(net, images, spoil, error, words, method):
    with pytest.raises(error, match=words):
        explain(net, spoil(images), method, "block")


def test_activations_that_are_not_finite_are_named(net, images):
    net.block.weight.data[0] = torch.nan
    with pytest.raises(ValueError, match="activations hold NaN"):
        explain(net, images, "xgradcam", "block", targets=0)


def test_a_gradient_that_is_not_finite_is_named(net, images):
    with pytest.raises(ValueError, match="gradient is not"):
        explain(net, images, "xgradcam", "block", targets=lambda row: (row[0] - row[0].detach()).sqrt())


class Wandering(nn.Module):
    """Calls one convolution twice, one never, and returns what nobody can differentiate from a third."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.never = nn.Conv2d(3, 3, 1)
        self.aside = nn.Conv2d(3, 3, 1)
        self.whole = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        self.aside(images)
        self.whole((images > 0).int())
        return self.twice(self.twice(images)).mean((2, 3))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("twice", "called more than once"),
        ("never", "never reached layer never"),
        ("aside", "does not depend on layer aside"),
        ("whole", "returned torch.int32"),
    ],
)
def test_a_layer_off_the_way_is_named(images, layer, words):
    with pytest.raises(ValueError, match=words):
        explain(Wandering(), images, "xgradcam", layer)


@pytest.mark.parametrize(
    "output", [{"scores": torch.zeros(1)}, (), "text", 3.0], ids=["mapping", "tuple", "text", "number"]
)
def test_an_output_without_logits_is_named(output):
    with pytest.raises(TypeError, match="no scores were found"):
        scores_in(output, 3)


def test_channels_last_is_not_read_as_channels_first(images):
    swin_like = nn.Sequential(nn.Conv2d(3, 16, 4, 4), _ToChannelsLast())
    with pytest.raises(ValueError, match="ChannelsLast"):
        explain(swin_like, images, "layercam", "1", targets=lambda row: row.sum())
    forced = explain(
        swin_like, images, "layercam", "1", targets=lambda row: row.sum(), layout=ChannelsFirst()
    )
    assert forced.raw["layercam"].shape == (3, 6, 16)


class _ToChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)

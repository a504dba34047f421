"""One bad image costs its own map: it is 0 and says why, and the others are bit for bit those of a good batch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.core.conftest import AT_ONE_LAYER, OF_ANY_NETWORK, fitting
from xaimed_core import METHODS, explain, road

BAD, OTHERS = 2, [0, 1, 3]
LAYERS = {"before a mixing": "block", "pooled": "late"}


def of_class_0(row: Tensor) -> Tensor:
    return row[0]


def without_slope(row: Tensor) -> Tensor:
    return (row[0] - row[0].detach()).sqrt() + row[0].detach()


def with_zero(row: Tensor) -> Tensor:
    return row[0] - row[0].detach()


class FailsAbove(nn.Module):
    """Adds 0, or the logarithm of a negative number where an image has come to hold values above ``limit``."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        room = self.limit - x.detach().flatten(1).abs().amax(1)
        return x + (room.log() * 0).view(-1, *[1] * (x.ndim - 1))


def failing(net: nn.Module, part: str, limit: float) -> nn.Module:
    setattr(net, part, nn.Sequential(net.get_submodule(part), FailsAbove(limit)))
    return net


def spoilt(images: Tensor, value: float) -> Tensor:
    return images.index_put(
        (torch.tensor(BAD), torch.tensor(0), torch.tensor(3), torch.tensor(5)), torch.tensor(value)
    )


@dataclass(frozen=True)
class Fault:
    """What is wrong with one image, the words for it, and which methods it concerns (None: all)."""

    images: Callable[[Tensor], Tensor]
    words: str
    target: Callable[[Tensor], Tensor] = of_class_0
    methods: tuple[str, ...] = tuple(METHODS)
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    model: Callable[[nn.Module], nn.Module] = lambda net: net


GRADIENT = tuple(name for name, method in METHODS.items() if method.needs_gradient)
FAULTS = {
    "a pixel is NaN": Fault(lambda x: spoilt(x, torch.nan), "the images hold NaN or infinite values"),
    "a pixel is infinite": Fault(lambda x: spoilt(x, torch.inf), "the images hold NaN or infinite values"),
    "the model fails before the layer": Fault(
        lambda x: spoilt(x, 1e6),
        "the layer's activations hold NaN or infinite values, which the model itself computed",
        model=lambda net: failing(net, "stem", 1e3),
    ),
    "the model fails behind the layer": Fault(
        lambda x: spoilt(x, 1e6),
        "the score is NaN or infinite, which the model computed behind the layer",
        methods=tuple(
            name for name in OF_ANY_NETWORK if METHODS[name].needs_score
        ),  # else a norm limits the head
        model=lambda net: failing(net, "head", 1e3),
    ),
    "the score has no slope": Fault(lambda x: x, "the score's gradient is not", without_slope, GRADIENT),
    "the score is 0": Fault(
        lambda x: x,
        "the score is exactly 0, by which grad-cam divides",
        with_zero,
        ("ablationcam",),
        {"semantics": "grad-cam"},
    ),
}
CASES = [
    pytest.param(fault, method, layer, id=f"{what}, {method}, {where}")
    for what, fault in FAULTS.items()
    for method in METHODS
    if method in fault.methods
    for where, layer in LAYERS.items()
    if method in AT_ONE_LAYER or layer == "block"
]


@pytest.fixture
def four() -> Tensor:
    return torch.randn(4, 3, 20, 24, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(("fault", "method", "layer"), CASES)
def test_the_other_images_keep_their_maps_bit_for_bit(net, four, fault, method, layer):
    net, place = fitting(method, net, layer)
    targets, net = [of_class_0] * 4, fault.model(net)
    good = explain(net, four, method, targets=targets, **place, **fault.options)
    targets[BAD] = fault.target
    found = explain(net, fault.images(four), method, targets=targets, **place, **fault.options)
    assert torch.equal(found.maps[method][OTHERS], good.maps[method][OTHERS])
    assert torch.equal(found.empty[method][OTHERS], good.empty[method][OTHERS])
    assert [found.reason[method][i] for i in OTHERS] == [good.reason[method][i] for i in OTHERS]
    assert not found.maps[method][BAD].any()
    assert bool(found.empty[method][BAD])
    assert fault.words in found.reason[method][BAD]


@pytest.mark.parametrize("targets", [1, None, [1, 0, 2, 1], "all"], ids=str)
def test_all_methods_from_one_call_leave_out_the_same_image(net, four, targets):
    found = explain(net, spoilt(four, torch.nan), AT_ONE_LAYER, "block", targets)
    good = explain(net, four, AT_ONE_LAYER, "block", targets)
    for method in AT_ONE_LAYER:
        assert torch.equal(found.maps[method][OTHERS], good.maps[method][OTHERS])
        assert found.empty[method][BAD].all()
        assert found.reason[method][BAD] == "the images hold NaN or infinite values"


@pytest.mark.parametrize("method", METHODS)
def test_where_every_image_is_bad_the_error_names_each_cause_once(net, four, method):
    net, place = fitting(method, net, "block")
    with pytest.raises(
        ValueError, match=f"no map of {method.replace('+', '.')} could be made: the images hold NaN"
    ) as caught:
        explain(net, four * torch.nan, method, **place)
    assert str(caught.value).count("NaN") == 1


def test_a_map_of_nothing_is_announced_beside_a_failed_one(net, four):
    net.head.weight.data.zero_()
    with pytest.warns(UserWarning, match="every xgradcam map is empty"):
        found = explain(net, spoilt(four, torch.nan), "xgradcam", "block", 1)
    assert "every place of block" in str(found.route["xgradcam"])


def test_the_others_are_scored_as_without_the_bad_image(net, four):
    spoiled = spoilt(four, torch.nan)
    found = road(net, spoiled, explain(net, spoiled, "xgradcam", "block", 1))
    good = road(net, four, explain(net, four, "xgradcam", "block", 1))
    assert torch.equal(found.score[OTHERS], good.score[OTHERS])
    assert found.score[BAD].isnan()
    assert found.reasons[BAD] == "the image holds NaN or infinity"


class BeforeNorm(nn.Module):
    """Tokens normed over their channels behind ``blocks``, as at the end of Swin and ViT."""

    def __init__(self):
        super().__init__()
        self.blocks, self.head = nn.Conv2d(3, 32, 4, stride=4), nn.Linear(32, 5)
        self.norm = nn.LayerNorm(32)

    def forward(self, x):
        return self.head(self.norm(self.blocks(x).flatten(2).mT).mean(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_not_shown_as_a_map_where_a_norm_forgets_the_scale(dtype):
    model, images = BeforeNorm().eval().to(dtype), torch.rand(2, 3, 32, 32, dtype=dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # far from the norm's epsilon
    with pytest.warns(UserWarning, match="forgets the scale of each place"):
        found = explain(model, images, ("hirescam", "gradcam"), "blocks")
    assert bool(found.empty["hirescam"].all())
    assert not found.maps["hirescam"].any()
    assert "LayerNorm" in found.reason["hirescam"][0]
    assert not found.empty["gradcam"].any()

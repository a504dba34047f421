"""Where values have both signs XGradCAM and GradCAM++ are ill-conditioned: it is said once, with what to type."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.core.conftest import AT_ONE_LAYER
from xaimed_bench.models import MODELS, build_model
from xaimed_core import METHODS, explain, findings
from xaimed_core.anatomy import layers_of
from xaimed_core.compat import XGradCAM
from xaimed_core.findings import SIGNED
from xaimed_core.layers import default_layer
from xaimed_core.layout import ChannelsFirst
from xaimed_reports.study.evaluation import load as load_evaluation

ROOT = Path(__file__).parents[3]


class Block(nn.Module):
    """Convolution, norm and activation, with a shortcut; ``act`` runs ``times`` times, or is a function."""

    def __init__(self, act: nn.Module | None, times: int = 1) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.act, self.times = act, times

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x)) + x
        for _ in range(self.times):
            y = torch.relu(y) if self.act is None else self.act(y)
        return y


class Net(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 6, 3, 2, 1), block, nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.stem(images)).flatten(2).mean(2))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def images() -> Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def said(model: nn.Module, layer: str | list[str] | None, methods=("xgradcam",), **more: object) -> list[str]:
    """What is warned of in two calls, less what is said of empty maps."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):
            explain(model.eval(), images(), methods, layer, 0, **more)
    assert {warning.filename for warning in found} <= {__file__}
    return [str(one.message) for one in found if "map is empty" not in str(one.message)]


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6()], ids=str)
@pytest.mark.parametrize("layer", ["block.conv", "block.norm"])
def test_the_output_of_the_activation_is_named_once(act, layer):
    (words,) = said(Net(Block(act)), layer)
    assert words.startswith("xgradcam divides by each channel's sum, and ")
    assert f"of the values at {layer} are negative" in words
    assert words.endswith("use layer='block', the output of its activation, or ablationcam")


def test_what_is_named_has_no_negative_value_and_is_not_warned_of():
    model = Net(nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)))
    (words,) = said(model, "block.0", ("gradcam++", "xgradcam", "layercam"))
    assert words.startswith("gradcam++ and xgradcam divide by")
    assert "layer='block.2'" in words
    assert said(model, "block.2") == []


def test_of_several_layers_the_signed_one_is_named():
    (words,) = said(Net(Block(nn.ReLU())), ["block", "block.norm"])
    assert "at block.norm are negative" in words


def test_what_divides_by_no_sum_is_not_warned_of():
    quiet = [name for name, method in METHODS.items() if not method.divides_by_sum]
    assert set(METHODS) - set(quiet) == {"xgradcam", "gradcam++", "refinecam"}
    asked = [name for name in quiet if name != "shapleycam" and name in AT_ONE_LAYER]
    assert said(Net(Block(nn.ReLU())), "block.norm", asked) == []


def test_grad_cams_arithmetic_and_names_are_silent():
    model = Net(Block(nn.ReLU())).eval()
    assert said(model, "block.norm", semantics="grad-cam") == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        XGradCAM(model, [model.block.norm])(images(), None)


@pytest.mark.parametrize(
    "block", [Block(None), Block(nn.SiLU()), Block(nn.ReLU(), times=2)], ids=["SiLU", "own", "shared"]
)
def test_where_no_layer_would_be_better_nothing_is_said(block):
    """No module returns a function's output, a SiLU leaves both signs, what runs twice has no one output."""
    model = Net(nn.Sequential(block, nn.Conv2d(6, 6, 3)))
    assert said(model, "block.1") == []
    assert said(model, None) == []


def test_few_negative_values_are_no_reason():
    model = Net(Block(nn.ReLU()))
    nn.init.constant_(model.block.norm.bias, 10)
    assert said(model, "block.norm") == []
    nn.init.constant_(model.block.norm.bias, 0)
    assert said(model, "block.conv")


def test_maps_that_are_there_are_not_lost_to_a_look_that_fails():
    class OneWay(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            raise RuntimeError("no way back")

    class Gate(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return OneWay.apply(x)

    model = Net(Block(nn.ReLU()))
    model.stem = nn.Sequential(model.stem, Gate())
    assert all("divides by" in line for line in said(model, "block.norm", layout=ChannelsFirst()))


def test_the_activation_must_be_made_of_the_layer():
    """Two branches of the same shape: the other one's ReLU is no way out."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.relu = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            a = self.a(x)
            return a - self.relu(self.b(x))

    model = Net(Branches())
    assert said(model, "block.a") == []
    assert "layer='block.relu'" in said(model, "block.b")[0]


def test_the_threshold_lies_half_way_between_the_study_s_layers_and_the_figures_are_the_files():
    study = load_evaluation(ROOT / "reports/results/amd-epyc-1-thread/study-lite0.json")
    negative = study.negative
    assert negative["last"] == 0
    assert abs(SIGNED - negative["before"] / 2) < 0.05
    words = Path(findings.__file__).read_text()
    assert f"{100 * negative['before']:.0f} %" in words
    for layer in ("before", "last"):
        for method in ("xgradcam", "gradcam++", "ablationcam"):
            assert f"{study.cell(layer, method, 'road').mean:.3f}" in words


# -------------------------------------------------------------------------------------------- the default layer
@pytest.mark.parametrize("name", MODELS)
def test_no_activation_follows_the_default_layer_of_the_networks(name):
    size = 224 if name == "vit_b_16" else 64
    model, one = build_model(name, calibrate=False), torch.randn(1, 3, size, size)
    layers = layers_of(model, one)
    assert default_layer(model, layers, one, "infer").activation == ""

"""Methods that run the model again against a second, slow writing: one image, one forward at a time, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.core.conftest import Attentive, attentive, fitting
from tests.families.written import WithSideInput
from xaimed_core import METHODS, explain
from xaimed_core.methods import Smoothing
from xaimed_core.methods.smoothing import smoothgradcampp

TARGET = 2
Raw = Callable[[nn.Module, str, Tensor], Tensor]


@contextmanager
def hooked(module: nn.Module, hook: Callable[[Tensor], Tensor]) -> Iterator[None]:
    handle = module.register_forward_hook(lambda _module, _inputs, output: hook(output))
    try:
        yield
    finally:
        handle.remove()


def activation_of(net: nn.Module, layer: str, image: Tensor) -> Tensor:
    kept: list[Tensor] = []
    with torch.no_grad(), hooked(net.get_submodule(layer), lambda y: kept.append(y) or y.clone()):
        net(image)
    return kept[0][0]


def weighted(a: Tensor, weights: list[float]) -> Tensor:
    return sum(w * channel for w, channel in zip(weights, a, strict=True))


def by_masks(passes: list[Callable[[Tensor], Tensor]]) -> Raw:
    """The softmax over channels of the mean score over passes, each of which makes something else of the mask."""

    def raw(net: nn.Module, layer: str, image: Tensor) -> Tensor:
        a, scores = activation_of(net, layer, image), list[float]()
        for channel in a:
            up = nn.functional.interpolate(channel[None, None], size=image.shape[2:], mode="bilinear")[0, 0]
            spread = up.max() - up.min()
            mask = (up - up.min()) / spread if spread > 0 else up * 0
            with torch.no_grad():
                scores.append(sum(net(image * vary(mask))[0, TARGET].item() for vary in passes) / len(passes))
        return weighted(a, torch.tensor(scores).softmax(0).tolist())

    return raw


def noisy(i: int) -> Callable[[Tensor], Tensor]:
    def vary(mask: Tensor) -> Tensor:
        drawn = torch.randn((10, *mask.shape), generator=torch.Generator().manual_seed(0))
        return mask + 2 * drawn[i].to(mask)

    return vary


def each_position(net: nn.Module, layer: str, image: Tensor) -> Tensor:
    scores = torch.zeros_like(activation_of(net, layer, image)[0])
    for at in range(scores.numel()):

        def alone(output: Tensor, at: int = at) -> Tensor:
            left = torch.zeros_like(output)
            left.flatten(2)[:, :, at] = output.flatten(2)[:, :, at]
            return left

        with torch.no_grad(), hooked(net.get_submodule(layer), alone):
            scores.view(-1)[at] = net(image)[0, TARGET]
    return scores - scores.min()


def smoothed_plus_plus(net: nn.Module, layer: str, image: Tensor) -> Tensor:
    kind = METHODS["smoothgradcam++"].kind
    assert isinstance(kind, Smoothing)
    a, slopes = activation_of(net, layer, image), list[Tensor]()
    draws = torch.randn((kind.samples, *image.shape[1:]), generator=torch.Generator().manual_seed(0))
    for drawn in draws:
        kept: list[Tensor] = []
        with hooked(net.get_submodule(layer), lambda y, kept=kept: kept.append(y) or y.clone()):
            score = net(image + kind.spread * (image.max() - image.min()) * drawn.to(image))[0, TARGET]
        slopes.append(torch.autograd.grad(score, kept[0])[0][0])
    weights: list[float] = []
    for k in range(len(a)):
        weight = 0.0
        for each in zip(*(slope[k].flatten().tolist() for slope in slopes), strict=True):
            d1, d2, d3 = (sum(g**p for g in each) / len(each) for p in (1, 2, 3))
            weight += d2 / (2 * d2 + float(a[k].sum()) * d3) * d1 if d1 > 0 else 0.0
        weights.append(weight)
    return weighted(a, weights)


def attention_written_out(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """A block's tokens and the probabilities behind them, head by head."""
    normed, of = block.norm1(x), block.attention
    q, k, v = nn.functional.linear(normed, of.in_proj_weight, of.in_proj_bias).chunk(3, 2)
    heads, width = of.num_heads, q.shape[2] // of.num_heads
    chances = []
    for h in range(heads):
        mine = slice(h * width, (h + 1) * width)
        chances.append((q[..., mine] @ k[..., mine].mT / width**0.5).softmax(2))
    chance = torch.stack(chances, 1)
    mixed = [chance[:, h] @ v[..., h * width : (h + 1) * width] for h in range(heads)]
    x = x + of.out_proj(torch.cat(mixed, 2))
    return x + block.mlp(block.norm2(x)), chance


def levels(net: nn.Module, image: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    assert isinstance(net, Attentive)
    patches = net.stem(image).flatten(2).mT
    tokens = torch.cat([net.token, patches], 1)
    for block in net.blocks:
        tokens, chance = attention_written_out(block, tokens)
        yield tokens, chance
        tokens = tokens.detach()


def sensitive(net: nn.Module, _layer: str, image: Tensor) -> Tensor:
    total = torch.zeros(30).to(image)
    for tokens, chance in levels(net, image):
        (slope,) = torch.autograd.grad(net.head(net.norm(tokens.mean(1)))[0, TARGET], chance)
        total += slope.clamp(min=0)[0].mean((0, 1))[1:] / len(net.blocks)
    return total.view(5, 6)


def rolled_out(net: nn.Module, _layer: str, image: Tensor) -> Tensor:
    flow = torch.eye(31).to(image)
    for _, chance in levels(net, image):
        flow = (chance.detach()[0].mean(0) / 2 + torch.eye(31).to(image) / 2) @ flow
    return flow[0, 1:].view(5, 6)


RUN_AGAIN: dict[str, Raw] = {
    "sscam": by_masks([noisy(i) for i in range(10)]),
    "iscam": by_masks([lambda mask, i=i: mask * (i + 1) / 10 for i in range(10)]),
    "reciprocam": each_position,
    "smoothgradcam++": smoothed_plus_plus,
    "legrad": sensitive,
    "attentionrollout": rolled_out,
}


@pytest.mark.parametrize("layer", ["block", "late"])
@pytest.mark.parametrize("method", RUN_AGAIN)
def test_a_raw_map_is_its_papers_formula(net, images, method, layer):
    net, place = fitting(method, net, layer)
    exact = copy.deepcopy(net).double()
    expected = torch.stack([RUN_AGAIN[method](exact, layer, one.double()) for one in images.split(1)])
    raw = explain(net, images, method, targets=TARGET, **place).raw[method]
    assert expected.std() > 1e-4
    assert (raw - expected).abs().max() <= 2e-5 * expected.abs().max()  # a float32 network in front


def test_a_draw_depends_neither_on_the_batch_nor_on_the_call(net, images):
    methods = ("sscam", "smoothgradcam++")
    found = explain(net, images, methods, "late", TARGET)
    alone = explain(net, images[1:2], methods, "late", TARGET)
    for method in methods:
        torch.testing.assert_close(alone.raw[method][0], found.raw[method][1], rtol=0, atol=2e-6)


def test_without_noise_smooth_gradcampp_is_gradcampp(net, images, monkeypatch):
    method = smoothgradcampp.SMOOTHGRADCAM_PLUS_PLUS
    monkeypatch.setattr(
        smoothgradcampp, "SMOOTHGRADCAM_PLUS_PLUS", replace(method, kind=Smoothing(samples=2, spread=0.0))
    )
    found = explain(net, images, ("smoothgradcam++", "gradcam++"), "late", TARGET)
    expected = found.raw["gradcam++"]
    assert expected.abs().max() > 0
    assert (found.raw["smoothgradcam++"] - expected).abs().max() <= 1e-5 * expected.abs().max()


# -------------------------------------------------------------------------------------- what positions cost
def test_positions_share_a_forward_behind_a_layer_that_all_passes(net, images):
    runs: list[int] = []
    net.stem.register_forward_hook(lambda _module, _inputs, output: runs.append(len(output)))
    found = explain(net, images, "reciprocam", "late", TARGET)
    assert runs.count(3) == 3, "the shared one, one to see whether images mix, one for all positions"
    assert str(found.route["reciprocam"]) == "the tail for 120 positions, 120 at a time"


def test_positions_run_one_by_one_where_the_model_holds_something_for_each_image():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model, images = WithSideInput(2).eval(), torch.randn(2, 3, 24, 24)
    found = explain(model, images, "reciprocam", "features", TARGET)
    assert "36 forwards, a position each" in str(found.route["reciprocam"])
    for i in range(2):
        alone = copy.deepcopy(model).double()
        alone.side = model.side[i : i + 1]
        expected = each_position(alone, "features", images[i : i + 1].double())
        assert expected.max() > 1e-3
        torch.testing.assert_close(found.raw["reciprocam"][i].double(), expected, rtol=0, atol=1e-5)


def test_legrad_refuses_rows_that_depend_on_each_other():
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = attentive()
            self.whole.norm.register_forward_hook(lambda _m, _i, out: out - 2 * out.mean(0, keepdim=True))

        def forward(self, images: Tensor) -> Tensor:
            return self.whole(images)

    images = torch.randn(3, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    place = fitting("legrad", nn.Identity(), "")[1] | {"layer": "whole.blocks.1.norm1"}
    with pytest.raises(ValueError, match="legrad runs what follows the blocks for several rows per image"):
        explain(Centred().eval(), images, "legrad", targets=1, **place)

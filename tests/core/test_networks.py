"""The paper's networks: memory format, compilation and precision change how they run, not what is explained.

Two memory formats are two roundings of one network, and a ReLU or a tie in a max pool near its kink can send a
gradient elsewhere (VGG-16: maps 6e-3 apart, contiguous against channels_last, float64 siding with the latter).
That is torch's own; what is held here is that, given a format, the maps are those of its activations and gradients.
"""

import pytest
import torch
from torch import Tensor, nn

from tests.sizes import by_size
from xaimed_bench.data import phantoms
from xaimed_bench.models import MODELS, build_model
from xaimed_core import explain

PAPER = [name for name, spec in MODELS.items() if spec.paper]
METHODS_HERE = ("gradcam++", "xgradcam", "layercam")


@pytest.fixture(scope="module", params=by_size(PAPER))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, str, Tensor]:
    name = request.param
    return build_model(name), MODELS[name].layers["earlier"], phantoms("mri", 2, size=96).images


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_maps_are_those_of_the_networks_own_activations_in_either_memory_format(case, memory_format):
    model, layer, images = case
    model.to(memory_format=memory_format)
    try:
        images = images.to(memory_format=memory_format)
        found = explain(model, images, METHODS_HERE, layer, targets=0)
        activation, gradient = _activation_and_gradient(model, layer, images)
    finally:
        model.to(memory_format=torch.contiguous_format)
    assert activation.is_contiguous(memory_format=memory_format)
    a, g = activation.double(), gradient.double()
    totals, positive = a.sum((2, 3), keepdim=True), g.clamp(min=0)
    expected = {
        "gradcam++": ((positive / (2 + totals * g)).sum((2, 3), keepdim=True) * a).sum(1),
        "xgradcam": (torch.where(totals != 0, (a * g).sum((2, 3), keepdim=True) / totals, 0) * a).sum(1),
        "layercam": (positive * a).sum(1),
    }
    # signed activations can bring gradcam++ near its pole, which amplifies the rounding of the sum by so much
    amplified = ((2 + (totals * positive).abs()) / (2 + totals * positive).abs()).max().item()
    allowed = max(1e-4, 4 * torch.finfo(torch.float32).eps * amplified)
    for method in METHODS_HERE:
        raw, size = found.raw[method], expected[method].abs().amax((1, 2), keepdim=True)
        assert (size > 0).all()
        assert ((raw - expected[method]).abs() / size).max() <= (allowed if method == "gradcam++" else 1e-4)


def test_a_compiled_network_gives_the_same_maps(case):
    model, layer, images = case
    expected = explain(model, images, METHODS_HERE, layer)
    compiled = torch.compile(model, backend="eager")
    found = explain(compiled, images, METHODS_HERE, layer)
    for method in METHODS_HERE:
        torch.testing.assert_close(found.maps[method], expected.maps[method], rtol=0, atol=1e-4)
        assert "compiled model run eagerly" in str(found.route[method])


def test_bfloat16_costs_at_most_twice_eager_torchs_error(case):
    """The yardstick: XGradCAM written in eager torch, in the bfloat16 that autocast gives activation and gradient."""
    model, layer, images = case
    exact = explain(model, images, "xgradcam", layer, targets=0).raw["xgradcam"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = explain(model, images, "xgradcam", layer, targets=0).raw["xgradcam"]
        eager = _eager_xgradcam(model, layer, images)
    assert isinstance(exact, Tensor)
    size = exact.abs().amax((1, 2), keepdim=True)
    assert (size > 0).all()
    error, yardstick = (((raw - exact).abs() / size).max().item() for raw in (ours, eager))
    assert 0 < error <= 2 * yardstick


def _activation_and_gradient(model: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """By an ordinary hook and a backward through the whole network."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    score = model(images)[:, 0].sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    return kept[0].detach(), gradient


def _eager_xgradcam(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    activation, gradient = (x.bfloat16() for x in _activation_and_gradient(model, layer, images))
    total = activation.sum((2, 3), keepdim=True)
    weights = torch.where(total != 0, (activation * gradient).sum((2, 3), keepdim=True) / total, 0)
    return (weights * activation).sum(1).float()

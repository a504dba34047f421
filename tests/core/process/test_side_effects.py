"""Explaining leaves the model, its gradients and the random numbers as they were, errors included."""

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.core.conftest import AT_ONE_LAYER, FEW_FORWARDS
from xaimed_core import explain


def state_of(net: nn.Module) -> dict[str, Any]:
    return {
        "parameters": [p.detach().clone() for p in net.parameters()],
        "buffers": [b.clone() for b in net.buffers()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in net.parameters()],
        "wants gradients": [p.requires_grad for p in net.parameters()],
        "modes": [m.training for m in net.modules()],
        "hooks": [
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in net.modules()
        ],
        "random": torch.get_rng_state(),
        "grad mode": torch.is_grad_enabled(),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def assert_unchanged(before: dict[str, Any], net: nn.Module) -> None:
    after = state_of(net)
    changed = [what for what in before if not same(before[what], after[what])]
    assert changed == []


@pytest.mark.parametrize("mode", ["eval", "train", "mixed"])
def test_nothing_of_the_model_changes(net, images, mode):
    if mode == "train":
        net.train()
    elif mode == "mixed":
        net.stem[1].train()
    net(images).sum().backward()
    before = state_of(net)
    explain(net, images, AT_ONE_LAYER, "block")
    assert_unchanged(before, net)


def test_images_are_not_written_to(net, images):
    before = images.clone()
    explain(net, images.requires_grad_(), FEW_FORWARDS, "block")
    assert torch.equal(images, before)
    assert images.grad is None


class Broken(RuntimeError):
    pass


def fail(*_: Any) -> None:
    raise Broken


def failing_target(_row: Tensor) -> Tensor:
    raise Broken


@pytest.mark.parametrize("where", ["prefix", "layer", "tail", "target"])
def test_nothing_changes_when_something_raises(net, images, where):
    net.train()
    module = {"prefix": net.stem, "layer": net.block, "tail": net.late, "target": None}[where]
    if module is not None:
        module.register_forward_hook(fail)
    before = state_of(net)
    with pytest.raises(Broken):
        explain(net, images, FEW_FORWARDS, "block", targets=failing_target if where == "target" else None)
    assert_unchanged(before, net)


def test_many_calls_hold_memory_flat(net, images):
    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    for _ in range(3):
        explain(net, images, FEW_FORWARDS, "block")
    before = tensors()
    for _ in range(40):
        explain(net, images, FEW_FORWARDS, "block")
    assert tensors() <= before


def settings() -> dict[str, Callable[[nn.Module, Tensor], tuple[nn.Module, Tensor]]]:
    def frozen(net: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
        return net.requires_grad_(False), images

    def training(net: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
        return net.train(), images

    def channels_last(net: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
        return net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)

    def data_parallel(net: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
        return nn.DataParallel(net), images

    def compiled(net: nn.Module, images: Tensor) -> tuple[nn.Module, Tensor]:
        wrapped = torch.compile(net, backend="eager")
        with torch.no_grad():
            wrapped(images)
        return wrapped, images

    return {f.__name__: f for f in (frozen, training, channels_last, data_parallel, compiled)}


@pytest.mark.parametrize("setting", settings())
def test_the_maps_do_not_depend_on_how_the_model_is_held(net, images, setting):
    expected = explain(copy.deepcopy(net), images, FEW_FORWARDS, "block")
    model, given = settings()[setting](net, images)
    found = explain(model, given, FEW_FORWARDS, "block")
    for method in FEW_FORWARDS:
        assert expected.maps[method].std() > 0.05
        torch.testing.assert_close(found.maps[method], expected.maps[method], rtol=0, atol=1e-4)
    taken = {"compiled": "compiled model run eagerly", "data_parallel": "DataParallel unwrapped"}.get(
        setting, ""
    )
    assert all(taken in str(route) for route in found.route.values())


@pytest.mark.parametrize(
    ("setting", "name"), [("data_parallel", "module.block"), ("compiled", "_orig_mod.block")]
)
def test_a_layer_may_have_the_name_that_the_wrapper_gives_it(net, images, setting, name):
    model, given = settings()[setting](net, images)
    assert name in dict(model.named_modules())
    assert explain(model, given, "gradcam", name).layer == "block"


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_maps_do_not_depend_on_the_grad_mode_around(net, images, context):
    expected = explain(net, images, FEW_FORWARDS, "block")
    with context():
        found = explain(net, images * 1.0, FEW_FORWARDS, "block")
    for method in FEW_FORWARDS:
        assert torch.equal(found.maps[method], expected.maps[method])
        assert not found.maps[method].requires_grad


def test_bfloat16_autocast_costs_at_most_twice_torchs_own_error(net, images):
    """The yardstick is the same arithmetic in eager torch: activation, gradient and map in bfloat16 from the start."""
    exact = explain(net, images, "xgradcam", "block", targets=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = explain(net, images, "xgradcam", "block", targets=1)
        kept: list[Tensor] = []
        handle = net.block.register_forward_hook(lambda _m, _i, out: kept.append(out) or out.clone())
        score = net(images)[:, 1].sum()
        handle.remove()
        (gradient,) = torch.autograd.grad(score, kept[0])
        activation = kept[0].detach()
        weights = (activation * gradient).sum((2, 3), keepdim=True) / activation.sum((2, 3), keepdim=True)
        eager = (weights * activation).sum(1).float()
    size = exact.raw["xgradcam"].abs().max()
    error, allowed = (
        ((raw - exact.raw["xgradcam"]).abs().max() / size).item() for raw in (ours.raw["xgradcam"], eager)
    )
    assert 0 < error <= 2 * allowed

"""What held in every trial stays so: plans after changes, memory after many models, everything after an exception."""

import copy
import gc
import weakref
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tests.core.conftest import AT_ONE_LAYER
from xaimed_core import explain, road

LAYERS = {"stem": 6, "block": 6, "late": 8}
"""Their channels."""


@pytest.fixture(autouse=True)
def _seeded() -> Generator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# ------------------------------------------------------------------------- plans are right after changes
def ablated(net: nn.Module, images: Tensor, layer: str, target: int) -> Tensor:
    """AblationCAM's weights ``[n, c]`` in float64, one whole forward for each channel of a copy."""
    exact = copy.deepcopy(net).double().eval()
    images = images.double()
    with torch.no_grad():
        whole = exact(images)[:, target]
        columns: list[Tensor] = []
        for channel in range(LAYERS[layer]):

            def zero(_module: Any, _inputs: Any, output: Tensor, k: int = channel) -> Tensor:
                output = output.clone()
                output[:, k] = 0
                return output

            handle = exact.get_submodule(layer).register_forward_hook(zero)
            columns.append(whole - exact(images)[:, target])
            handle.remove()
    return torch.stack(columns, 1)


def differentiated(net: nn.Module, images: Tensor, layer: str, target: int) -> Tensor:
    """GradCAM's weights ``[n, c]`` in float64 by autograd over a whole copy."""
    exact = copy.deepcopy(net).double().eval()
    kept = list[Tensor]()

    def keep(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    exact.get_submodule(layer).register_forward_hook(keep)
    (gradient,) = torch.autograd.grad(exact(images.double())[:, target].sum(), kept[0])
    return gradient.mean((2, 3))


def weights_moved(net: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
    return images


def one_step_of_training(net: nn.Module, images: Tensor) -> Tensor:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    net.train()
    net(images)[:, 0].sum().backward()
    optimizer.step()
    return images


def state_loaded(net: nn.Module, images: Tensor) -> Tensor:
    net.load_state_dict({name: value * 1.5 for name, value in net.state_dict().items()})
    return images


def parameter_replaced(net: nn.Module, images: Tensor) -> Tensor:
    net.head.weight = nn.Parameter(net.head.weight.detach().flip(0))
    return images


def head_replaced(net: nn.Module, images: Tensor) -> Tensor:
    net.head = nn.Sequential(nn.Linear(8, 12), nn.SiLU(), nn.Linear(12, 7)).to(net.head.weight.dtype)
    return images


def activation_put_behind_the_layer(net: nn.Module, images: Tensor) -> Tensor:
    net.dropout = nn.SiLU()
    return images


def module_put_around(net: nn.Module, images: Tensor) -> Tensor:
    net.late = nn.Sequential(net.late, nn.MaxPool2d(2))
    return images


def buffer_moved(net: nn.Module, images: Tensor) -> Tensor:
    net.stem[1].running_mean.add_(0.3)
    return images


def hook_added(net: nn.Module, images: Tensor) -> Tensor:
    net.dropout.register_forward_hook(lambda _module, _inputs, output: output * output.sigmoid())
    return images


def hook_before_added(net: nn.Module, images: Tensor) -> Tensor:
    net.late.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * 2 - 1,))
    return images


def forward_replaced(net: nn.Module, images: Tensor) -> Tensor:
    net.dropout.forward = lambda x: x.abs()  # pyright: ignore[reportAttributeAccessIssue]
    return images


def weights_normalised(net: nn.Module, images: Tensor) -> Tensor:
    weight_norm(net.late)
    return images


def double(net: nn.Module, images: Tensor) -> Tensor:
    net.double()
    return images.double()


def frozen_in_channels_last(net: nn.Module, images: Tensor) -> Tensor:
    net.requires_grad_(False).to(memory_format=torch.channels_last)
    return images.contiguous(memory_format=torch.channels_last)


def fewer_images(net: nn.Module, images: Tensor) -> Tensor:
    return images[:1]


def more_images(net: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([images, images.flip(3), images * 0.5])


def larger_images(net: nn.Module, images: Tensor) -> Tensor:
    return nn.functional.interpolate(images, size=(32, 28))


CHANGES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    change.__name__: change
    for change in (
        weights_moved,
        one_step_of_training,
        state_loaded,
        parameter_replaced,
        head_replaced,
        activation_put_behind_the_layer,
        buffer_moved,
        hook_added,
        hook_before_added,
        forward_replaced,
        weights_normalised,
        double,
        frozen_in_channels_last,
        fewer_images,
        more_images,
        larger_images,
        module_put_around,
    )
}
TARGET = 2


def hold(net: nn.Module, images: Tensor, layer: str) -> None:
    """Both weights are those of brute force, to float32's rounding."""
    found = explain(net, images, ("ablationcam", "gradcam"), layer, TARGET)
    for method, exact in (("ablationcam", ablated), ("gradcam", differentiated)):
        expected = exact(net, images, layer, TARGET)
        assert expected.abs().max() > 0
        error = (found.weights[method] - expected).abs().max() / expected.abs().max()
        assert error < 1e-5, method


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_is_right_after_the_model_or_the_batch_changed(net, images, layer, change):
    hold(net, images, layer)
    images = CHANGES[change](net, images)
    hold(net, images, layer)
    hold(net, images, layer)


@pytest.mark.filterwarnings("ignore:every .* map is empty:UserWarning")
@pytest.mark.parametrize("layer", LAYERS)
def test_a_plan_is_right_after_one_change_on_top_of_another(net, images, layer):
    for change in (double, *CHANGES.values()):
        images = change(net, images)
        hold(net, images, layer)


# ---------------------------------------------------------------------------- many models leave no memory
def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(o), Tensor) for o in gc.get_objects())


def of_width(width: int) -> nn.Module:
    act = (nn.ReLU, nn.SiLU, nn.GELU)[width % 3]()
    features = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), act, nn.Conv2d(width, 4, 3), nn.BatchNorm2d(4)
    )
    return nn.Sequential(features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def used(width: int) -> list[weakref.ref[nn.Module]]:
    """Five explanations of a network that nobody holds any more, and a score."""
    model = of_width(width)
    images = torch.rand(2, 3, 8, 8 + width % 4)
    for layer in ("0", "0.0", "0.2", None):
        e = explain(model, images, [m for m in AT_ONE_LAYER if m != "sess"], layer, targets=1)
    explain(model, images, "ablationcam", "0.0", targets=[lambda row: row[0], lambda row: row[1]])
    if width == 1:
        road(model, images, e.maps["xgradcam"])
    return [weakref.ref(module) for module in model.modules()]


@pytest.mark.filterwarnings("ignore:every .* map is empty:UserWarning")
@pytest.mark.filterwarnings("ignore:.* by each channel's sum")
def test_20_models_and_100_calls_leave_nothing_behind():
    alive = [reference for width in (1, 2, 3) for reference in used(width)]
    before = tensors()
    alive += [reference for width in range(1, 21) for reference in used(width)]
    assert tensors() <= before
    assert [reference() for reference in alive if reference() is not None] == []

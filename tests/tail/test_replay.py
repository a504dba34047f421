"""Replayed tails give the drops of brute force."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from xaimed_core.forward import observe
from xaimed_core.tail import observe_tail


def calibrated(model: nn.Module, images: Tensor) -> nn.Module:
    model.train()
    with torch.no_grad():
        model(images)
    return model.eval()


def brute_force_drops(
    model: nn.Module, name: str, images: Tensor, classes: Tensor, channel_dim: int
) -> Tensor:
    """y - y_k in float64, one whole forward per channel."""
    import copy

    exact = copy.deepcopy(model).double()
    layer, images = exact.get_submodule(name), images.double()
    at = torch.arange(len(images))

    def score(k: int | None) -> Tensor:
        def ablate(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            if k is not None:
                output.select(channel_dim, k).zero_()
            return output

        handle = layer.register_forward_hook(ablate)
        with torch.no_grad():
            logits = exact(images)
        handle.remove()
        return logits[at, classes]

    channels = dict(exact.named_modules())[name]
    shapes: list[int] = []
    handle = channels.register_forward_hook(lambda _m, _i, o: shapes.append(o.shape[channel_dim]))
    with torch.no_grad():
        exact(images)
    handle.remove()
    return torch.stack([score(None) - score(k) for k in range(8)], 1)


@pytest.mark.parametrize(
    ("name", "layer", "channel_dim"),
    [("resnet18", "layer4.1", 1), ("densenet121", "features.denseblock4.denselayer3", 1)],
)
@pytest.mark.parametrize("gradients", [False, True])
def test_replayed_drops_are_those_of_brute_force(
    name: str, layer: str, channel_dim: int, gradients: bool
) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64)
    model = calibrated(torchvision.models.get_model(name, num_classes=5), torch.randn(8, 3, 64, 64))
    observer = observe_tail(model, model.get_submodule(layer), images, channel_dim=channel_dim)
    seen = observe(model, images, {layer: model.get_submodule(layer)}, gradients=gradients, observer=observer)
    found = observer.tail().drops(seen.targets, channels=torch.arange(8))
    exact = brute_force_drops(model, layer, images, seen.targets.index, channel_dim)
    assert exact.abs().max() > 1e-3
    assert (found.drops - exact).abs().max() <= 2e-4 * exact.abs().max()

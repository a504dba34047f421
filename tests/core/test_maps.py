"""What holds for the maps of every method: their range, several layers, the same bits, what coincides."""

import torch
from torch import Tensor, nn

from tests.core.conftest import AT_ONE_LAYER, fitting
from xaimed_core import METHODS, explain


def test_methods_asked_together_give_what_each_gives_alone(net, images):
    together = explain(net, images, AT_ONE_LAYER, "block")
    for method in AT_ONE_LAYER:
        alone = explain(net, images, method, "block")
        torch.testing.assert_close(together.maps[method], alone.maps[method], rtol=0, atol=1e-6)


def test_maps_run_from_0_to_1_at_the_images_size(net, images):
    for method in METHODS:
        model, place = fitting(method, net, "block")
        found = explain(model, images, method, **place)
        maps = found.maps[method]
        assert maps.shape == (3, 20, 24)
        assert maps.dtype == torch.float32
        for one, empty in zip(maps, found.empty[method], strict=True):
            assert (one.min().item(), one.max().item()) == ((0.0, 0.0) if empty else (0.0, 1.0))


def min_max(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def test_several_layers_give_the_mean_of_their_scaled_maps_scaled_again(net, images):
    both = explain(net, images, ("xgradcam", "ablationcam"), ["stem", "late"])
    assert both.layer == "stem, late"
    for method in both.maps:
        layers = []
        for layer, raw in zip(("stem", "late"), both.raw[method], strict=True):
            torch.testing.assert_close(
                raw, explain(net, images, method, layer).raw[method], rtol=0, atol=1e-5
            )
            scaled = min_max(raw.relu()).unsqueeze(1)
            layers.append(torch.nn.functional.interpolate(scaled, size=(20, 24), mode="bilinear")[:, 0])
        torch.testing.assert_close(both.maps[method], min_max(sum(layers) / 2), rtol=0, atol=1e-5)


def test_methods_that_coincide_at_a_pooled_layer_say_so(net, images):
    tail = nn.Sequential(net.stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)).eval()
    names = ("gradcam", "xgradcam", "hirescam")
    found = explain(tail, images, names, "0")
    for name in names:
        others = tuple(other for other in names if other != name)
        assert found.route[name].same_as == others
        assert f"only pooled, so that {' and '.join(others)} give the same map" in str(found.route[name])
        torch.testing.assert_close(found.maps[name], found.maps["gradcam"], rtol=0, atol=1e-5)
    apart = explain(net, images, names, "block").route.values()
    assert not any(route.same_as or "only pooled" in str(route) for route in apart)


def test_the_same_input_gives_the_same_bits(net, images):
    for method in METHODS:
        model, place = fitting(method, net, "block")
        first, second = (explain(model, images, method, **place) for _ in range(2))
        assert torch.equal(first.maps[method], second.maps[method])

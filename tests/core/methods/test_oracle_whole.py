"""Methods that make one map of the whole network, of several layers or of windows, by a second, slow writing."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.core.methods.test_oracle_again import RUN_AGAIN
from tests.core.test_oracle import GRADIENT_ORACLES, activation_and_gradient, gradcam, gradcam_plus_plus
from xaimed_core import METHODS, explain
from xaimed_core.probes.biases import bias_of

TARGET = 2
LAYERS = ["stem", "block", "late"]


def unit(map_: np.ndarray) -> np.ndarray:
    low, high = map_.min(), map_.max()
    return (map_ - low) / (high - low) if high - low > 1e-12 * abs(high) else map_ * 0


def up(map_: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear, by half-pixel centres."""
    rows, columns = (between(*sides) for sides in zip(map_.shape, size, strict=True))
    return rows @ map_ @ columns.T


@functools.cache
def between(short: int, long: int) -> np.ndarray:
    """What each of ``long`` places has of each of ``short``."""
    shares = np.zeros((long, short))
    for i in range(long):
        at = min(max((i + 0.5) * short / long - 0.5, 0.0), short - 1)
        shares[i, int(at)] += 1 - at % 1
        shares[i, min(int(at) + 1, short - 1)] += at % 1
    return shares


def shown(raw: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return unit(up(unit(np.maximum(raw, 0)), size))


def full_gradient(net: nn.Module, image: Tensor) -> np.ndarray:
    """Biases by what a layer makes of an image of zeros, their gradients by adding 0 to what it returns."""
    size, added, biases = tuple(image.shape[2:]), [], []
    handles = []

    def add(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        added.append(torch.zeros_like(output, requires_grad=True))
        biases.append(module)
        return output + added[-1]

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            handles += [module.register_forward_hook(add)]
    image = image.clone().requires_grad_()
    try:
        net(image)[0, TARGET].backward()
    finally:
        for handle in handles:
            handle.remove()
    terms = [image.grad * image.detach()]
    for module, zeros in zip(biases, added, strict=True):
        channels = module.in_channels if isinstance(module, nn.Conv2d) else module.num_features
        with torch.no_grad():
            bias = module(torch.zeros(1, channels, 9, 9, dtype=image.dtype))[:, :, 4:5, 4:5]
        terms.append(bias * zeros.grad)
    return sum(up(unit(np.abs(channel)), size) for term in terms for channel in term[0].numpy())


def product_over_layers(net: nn.Module, image: Tensor) -> np.ndarray:
    product = 1.0
    for layer in LAYERS:
        a, g = activation_and_gradient(net, layer, image, TARGET)
        product = product * shown(gradcam_plus_plus(a[0], g[0]), tuple(image.shape[2:]))
    return product


def windows(image: Tensor) -> Iterator[tuple[Tensor, tuple[int, int], tuple[int, int]]]:
    """Each window, where its first place lies, and the size of what it was cut from."""
    h, w = image.shape[2:]
    for i in range(METHODS["sess"].kind.scales):
        longer = min(h, w) + i * round(min(h, w) * 2 / 7)
        size = (longer * h // min(h, w), longer * w // min(h, w))
        whole = np.stack([up(channel, size) for channel in image[0].numpy()])
        for y in range(0, max(size[0] - h, 1) + h - 1, h):
            for x in range(0, max(size[1] - w, 1) + w - 1, w):
                y0, x0 = min(y, size[0] - h), min(x, size[1] - w)
                yield torch.from_numpy(whole[None, :, y0 : y0 + h, x0 : x0 + w]), (y0, x0), size


def slid(net: nn.Module, image: Tensor) -> np.ndarray:
    size = tuple(image.shape[2:])
    seen = []
    for window, start, whole in windows(image):
        with torch.no_grad():
            chance = float(net(window).softmax(1)[0, TARGET])
        a, g = activation_and_gradient(net, "late", window, TARGET)
        pasted = np.zeros(whole)
        pasted[start[0] : start[0] + size[0], start[1] : start[1] + size[1]] = shown(
            gradcam(a[0], g[0]), size
        )
        seen.append((chance, up(pasted, size)))
    most = max(chance for chance, _ in seen)
    total, count = np.zeros(size), np.zeros(size)
    for chance, pasted in seen:
        total += chance / most * pasted
        count += pasted > 0
    return blurred(total / np.maximum(count, 1))


def blurred(map_: np.ndarray) -> np.ndarray:
    """Eleven by eleven places, standard deviation 5, borders mirrored without the outermost place."""
    padded = np.pad(map_, 5, mode="reflect")
    taps = np.array([[np.exp(-(y**2 + x**2) / 50) for x in range(-5, 6)] for y in range(-5, 6)])
    taps /= taps.sum()
    found = np.zeros_like(map_)
    for i, j in np.ndindex(*map_.shape):
        found[i, j] = (taps * padded[i : i + 11, j : j + 11]).sum()
    return found


WHOLE: dict[str, tuple[Callable[[nn.Module, Tensor], np.ndarray], object]] = {
    "fullgrad": (full_gradient, None),
    "refinecam": (product_over_layers, LAYERS),
    "sess": (slid, "late"),
}


def test_the_oracles_cover_the_table():
    of_their_own = {"ablationcam", "scorecam", "shapleycam"} | set(RUN_AGAIN) | set(WHOLE)
    assert set(GRADIENT_ORACLES) | of_their_own == set(METHODS)


@pytest.mark.parametrize("method", WHOLE)
def test_a_map_is_its_papers_formula(net, images, method):
    slow, layer = WHOLE[method]
    exact, images = copy.deepcopy(net).double(), images[:2]
    expected = np.stack([unit(slow(exact, image.double())) for image in images.split(1)])
    found = explain(net, images, method, layer, targets=TARGET)
    assert expected.std((1, 2)).min() > 0.05
    assert np.abs(found.maps[method].numpy() - expected).max() <= 1e-4
    assert found.reason[method] == ("", "")


def test_input_and_biases_make_up_the_score_of_a_network_of_relus(net, images):
    """The completeness that FullGrad rests on, of the biases as they are read here."""
    exact, image = copy.deepcopy(net).double(), images[:1].double().requires_grad_()
    kept = []
    for module in exact.modules():
        if bias_of(module) is not None:
            module.register_forward_hook(
                lambda module, _i, out: kept.append((bias_of(module), out.clone())) or kept[-1][1].clone()
            )
    score = exact(image)[0, TARGET]
    of_image, *slopes = torch.autograd.grad(score, [image, *(out for _, out in kept)])
    parts = [(of_image * image).sum(), exact.head.bias[TARGET]]
    parts += [(slope.sum((0, 2, 3)) * bias).sum() for slope, (bias, _) in zip(slopes, kept, strict=True)]
    assert len(kept) == 4
    torch.testing.assert_close(sum(parts), score)
    assert abs(sum(parts[2:])) > 1e-3 * abs(score)


def test_a_bias_that_cannot_be_read_off_its_module_is_left_out():
    class Active(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).relu()

    assert bias_of(Active(4)) is None
    assert bias_of(nn.BatchNorm2d(4, track_running_stats=False)) is None
    assert bias_of(nn.BatchNorm3d(4)) is not None
    assert bias_of(nn.Conv2d(3, 4, 1, bias=False)) is None
    assert bias_of(nn.Linear(3, 4)) is None


def test_the_route_names_biases_that_are_left_out(images):
    class Active(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).relu()

    def said(norm: nn.Module) -> str:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
        return str(explain(net.eval(), images, "fullgrad").route["fullgrad"])

    assert "those of Active, GroupNorm cannot be read" in said(nn.Sequential(Active(4), nn.GroupNorm(2, 4)))
    assert "left out" not in said(nn.BatchNorm2d(4))


def test_fullgrad_takes_one_forward_and_leaves_the_images(net, images):
    calls: list[int] = []
    net.late.register_forward_hook(lambda *_: calls.append(1))
    before = images.clone()
    alone = explain(net, images, "fullgrad", targets=TARGET)
    assert calls == [1]
    found = explain(net, images, ("fullgrad", "gradcam"), "late", TARGET)
    assert torch.equal(images, before)
    assert not images.requires_grad
    assert str(found.route["fullgrad"]) == "one forward, backward of the whole network; 4 biases"
    assert alone.layer == "none"
    assert torch.equal(alone.maps["fullgrad"], found.maps["fullgrad"])


def test_a_method_can_be_put_into_another(net, images):
    images = images[:1]
    names = ("refinecam(layercam)", "sess(xgradcam)", "sess(refinecam)", "layercam")
    found = explain(net, images, names, LAYERS, TARGET)
    product = torch.ones(())
    for layer in LAYERS:
        product = product * explain(net, images, "layercam", layer, TARGET).maps["layercam"]
    expected = product / product.amax((1, 2), keepdim=True)
    torch.testing.assert_close(found.maps["refinecam(layercam)"], expected, rtol=0, atol=1e-5)
    assert (found.maps["sess(xgradcam)"] - found.maps["sess(refinecam)"]).abs().max() > 0.05
    for wrong, words in (
        ("xgradcam(sess)", "xgradcam holds no other method; sess and refinecam do"),
        ("refinecam(fullgrad)", "multiplies maps of single layers, and fullgrad has none"),
        ("sess(gradcan)", "no CAM method 'gradcan'; did you mean 'gradcam'"),
    ):
        with pytest.raises(ValueError, match=words):
            explain(net, images, wrong, LAYERS)


def test_a_window_is_the_same_whatever_shares_its_forward(net, images):
    found = explain(net, images, "sess", "late", TARGET).maps["sess"]
    alone = explain(net, images[1:2], "sess", "late", TARGET).maps["sess"]
    torch.testing.assert_close(found[1:2], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dimensions", "size"), [(1, (64,)), (3, (7, 10, 8))], ids=["signals", "volumes"])
def test_signals_and_volumes_have_such_maps(dimensions, size):
    conv, norm = ((nn.Conv1d, nn.BatchNorm1d), None, (nn.Conv3d, nn.BatchNorm3d))[dimensions - 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = nn.Sequential(conv(2, 4, 3, 2, 1), norm(4), nn.ReLU(), conv(4, 6, 3), nn.ReLU())
        model = nn.Sequential(
            *net, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 3)
        ).eval()
        images = torch.randn(2, 2, *size)
    at = {"fullgrad": None, "refinecam": ["2", "4"], "sess": "4"}
    for method, layer in at.items():
        maps = explain(model, images, method, layer, [0, 1]).maps[method]
        assert maps.shape == (2, *size)
        assert maps.amax() == 1

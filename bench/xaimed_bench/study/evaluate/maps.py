"""The maps of a batch: every method at every layer, hybrids, and maps that know nothing of the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_bench.measure.fidelity import other_sign
from xaimed_core import METHODS, Explanation, explain
from xaimed_core.faithfulness import blurred, centre_gaussian, random_maps
from xaimed_core.methods import PAPER, Projection
from xaimed_kernels.rescale_maps.reference import min_max
from xaimed_reports.study.words import BASELINES, BLURRED

HYBRIDS: Mapping[str, tuple[str, str]] = {"layercam x gradcam++": ("layercam", "gradcam++")}
"""Products of two methods' maps: the first open question of arXiv 2503.08420."""
NEGATIVE = ", other sign"
"""Ends the name of a principal map with its sign turned: the sign of a singular vector is arbitrary."""
NO_LAYER = ""
ALL = (*PAPER, *HYBRIDS)
"""The methods unless others are asked for."""


class Made(NamedTuple):
    """One map of each image: ``maps [n, h, w]`` in [0, 1]; ``layer`` is "" for a baseline."""

    layer: str
    method: str
    maps: Tensor


class Explained(NamedTuple):
    """A batch as explained: every map, the logits, and the targets' explanation at the first layer."""

    made: tuple[Made, ...]
    logits: Tensor
    first: Explanation


def methods_needed(names: Sequence[str]) -> tuple[str, ...]:
    """What `explain` is asked for: hybrids need both their parts."""
    return tuple(dict.fromkeys(part for name in names for part in HYBRIDS.get(name, (name,))))


def methods_at(layer: str, names: Sequence[str]) -> tuple[str, ...]:
    """Those that the layer serves: some need several layers, and those of a whole network refuse several."""
    unfit = "network" if "," in layer else "layers"
    return tuple(name for name in names if name not in METHODS or METHODS[name].places != unfit)


def maps_per_image(names: Sequence[str], layers: Iterable[str]) -> int:
    served = [methods_at(layer, names) for layer in layers]
    signed = sum(
        name in METHODS and isinstance(METHODS[name].kind, Projection) for at in served for name in at
    )
    return len(BASELINES) + signed + sum(len(at) + 1 for at in served)


def explain_batch(
    model: nn.Module, images: Tensor, layers: Mapping[str, str], names: Sequence[str], *, seed: int
) -> Explained:
    """All maps of each image's top class. One pass per layer; ``seed``: of the random maps."""
    found: dict[str, Explanation] = {}
    for role, layer in layers.items():
        asked = methods_needed(methods_at(layer, names))
        found[role] = explain(model, images, asked, layer.split(","), progress=False)
    made = [each for role, e in found.items() for each in _of_layer(role, e, methods_at(layers[role], names))]
    made += _baselines(images, seed)
    first = next(iter(found.values()))
    if first.logits is None:
        raise ValueError("the network gives no scores; an evaluation needs a classifier")
    return Explained(tuple(made), first.logits, first)


def _of_layer(role: str, e: Explanation, names: Sequence[str]) -> Iterator[Made]:
    for name in names:
        if name in HYBRIDS:
            a, b = (e.maps[part] for part in HYBRIDS[name])
            yield Made(role, name, min_max(a * b)[0])
            continue
        yield Made(role, name, e.maps[name])
        if isinstance(METHODS[name].kind, Projection):
            yield Made(role, name + NEGATIVE, other_sign(e, name))
    blur = next((name for name in ("xgradcam", *names) if name in e.maps), None)
    if blur is not None:
        yield Made(role, blur + BLURRED, blurred(e.maps[blur]))


def _baselines(images: Tensor, seed: int) -> list[Made]:
    n, size = len(images), (images.shape[2], images.shape[3])
    return [
        Made(NO_LAYER, "random", random_maps(n, size, seed=seed).to(images.device)),
        Made(NO_LAYER, "centre-Gaussian", centre_gaussian(n, size).to(images.device)),
        Made(NO_LAYER, "edges", edges(images)),
    ]


def edges(images: Tensor) -> Tensor:
    """The images' own edges, ``[n, h, w]`` in [0, 1]: the length of Sobel's gradient of the mean channel."""
    x = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=images.device)
    gray = functional.pad(images.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    both = functional.conv2d(gray, torch.stack((x, x.T))[:, None])
    return min_max(both.square().sum(1).sqrt())[0]

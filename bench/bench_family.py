"""What grad-cam's further classes cost: each beside xaimed's class of the same name, at ResNet-50's last layer.

SS-CAM and IS-CAM, which grad-cam lacks, stand beside the forwards that they need, at a layer of few channels. With
``--peers`` torch-cam is timed beside them where it has the method, though its definition differs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xaimed_core.compat as compat
from xaimed_bench.measure.fidelity import MAPS_AGREE, of_maps
from xaimed_bench.measure.peers import grad_cam_name
from xaimed_bench.measure.subject import Subject
from xaimed_bench.questions.explaining import PEERS
from xaimed_core import METHODS, explain
from xaimed_core.methods import PAPER, ChannelProbe, InputProbe
from xaimed_core.methods.method import Method
from xaimed_core.rows import ROWS
from xaimed_kernels.rescale_maps import rescale_maps

TOTAL_S = 420.0
FAMILY = {
    m.oracle: name
    for name, m in METHODS.items()
    if m.oracle
    and not isinstance(m.kind, ChannelProbe | InputProbe)
    and name not in (*PAPER, "gradcam", "hirescam", "eigencam")
}
"""grad-cam's classes that are not in bench_cam.py, nor run the whole network for each channel, and our names."""
FACTORISATION = "DeepFeatureFactorization"
MASKED = tuple(n for n, m in METHODS.items() if isinstance(m.kind, InputProbe) and len(m.kind.scales) > 1)
LAYERS = ("layer1", "layer2", "layer3", "layer4")
CONCEPTS, SCALES = 5, 2


def cases() -> list[tuple[str, str, str, str, str, str]]:
    """Method, model, layer, batch, dtype and size, all short strings: the ids that later comparisons join on."""
    return [
        *((name, "resnet50", "last", "4", "fp32", "224") for name in (*FAMILY, FACTORISATION)),
        *((name, "resnet18", "layer1", "1", "fp32", "64") for name in MASKED),
    ]


@pytest.mark.parametrize(("method", "model", "layer", "batch", "dtype", "size"), cases())
def bench_the_family(measure, subjects, asked_peers, method, model, layer, batch, dtype, size):
    subject = subjects.get(model, "last", batch=int(batch), dtype=dtype, size=int(size))
    name = FAMILY.get(method, method)
    layers = [layer] if method in MASKED else layers_of(name, subject)
    place = layers if len(layers) > 1 else layers[0]
    with ExitStack() as built:
        peers = {
            peer: built.enter_context(arm(name, subject.apart(peer), place, subject.images, subject.classes))
            for peer, (offered, arm) in PEERS.items()
            if peer in asked_peers and name in offered
        }
        if method in MASKED:
            measure(**masked(subject, METHODS[method], layer), peers=peers, unlike=peers)
            return
        package = importlib.import_module("pytorch_grad_cam")
        theirs = call_of(package, method, subject.apart(method), subject, built)
        measure(
            call_of(compat, method, subject.model, subject),
            against=theirs,
            what=grad_cam_name(method),
            forward=subject.forward,
            judge=lambda mine, other: of_maps(np.stack(mine), np.stack(other)),
            allowed=MAPS_AGREE,
            images=len(subject.images),
            peers=peers,
            unlike=peers,
        )


def layers_of(method: str, subject: Subject) -> list[str]:
    """Where a method of this name looks."""
    several = method in METHODS and METHODS[method].places == "layers"
    return list(LAYERS) if several else [subject.layer]


def call_of(
    package: Any, method: str, model: nn.Module, subject: Subject, built: ExitStack | None = None
) -> Callable[[], Any]:
    """The call that explains the subject's batch by a class of that package; its hooks go with ``built``."""
    layers = [model.get_submodule(name) for name in layers_of(FAMILY.get(method, ""), subject)]
    if method == FACTORISATION:
        factors = package.DeepFeatureFactorization(model, layers[0])
        return lambda: np.stack(factors(subject.images, CONCEPTS)[1]).reshape(-1, *subject.images.shape[2:])
    options: dict[str, Any] = {"num_scales": SCALES} if method == "SESS" else {}
    cam = getattr(package, method)(model, layers, **options)
    for one in getattr(cam, "base_cam_per_layer", [getattr(cam, "base_cam", cam)]) if built else ():
        built.callback(one.activations_and_grads.release)

    def run() -> Any:
        np.random.seed(4)  # noqa: NPY002 # RandomCAM's numbers, for both
        return cam(subject.images, None)

    return run


def masked(subject: Subject, method: Method, layer: str) -> dict[str, Any]:
    """The question of a method that shows the image through every channel, several times each."""
    probe = method.kind
    assert isinstance(probe, InputProbe)
    model, images, target = subject.model, subject.images, subject.classes[0]
    with torch.no_grad():
        activation = first_output(model, model.get_submodule(layer), images)
    drawn = torch.Generator().manual_seed(
        0
    )  # images that differ, as masked ones do: equal ones cost up to 4 % less
    masks, noise = (draw((ROWS, 1, *images.shape[2:]), generator=drawn) for draw in (torch.rand, torch.randn))
    rows = images * (masks + probe.deviation * noise).to(images)
    needed = activation.shape[1] * len(probe.scales)

    @torch.no_grad()
    def forwards() -> None:
        for _ in range(needed // ROWS):
            model(rows)

    return {
        "ours": lambda: explain(model, images, method.name, layer, target, progress=False).maps[method.name],
        "truth": partial(slowly, model, images, activation, target, probe),
        "forward": forwards,
        "judge": of_maps,
        "allowed": MAPS_AGREE,
        "images": len(images),
        "revision": method.revision,
    }


def first_output(model: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """What the layer gives for the images."""
    kept: list[Tensor] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output.clone()))
    try:
        model(images)
    finally:
        hook.remove()
    return kept[0]


@torch.no_grad()
def slowly(model: nn.Module, image: Tensor, activation: Tensor, target: int, probe: InputProbe) -> Tensor:
    """The maps by one forward per mask."""
    size = image.shape[2:]
    drawn = torch.randn((len(probe.scales), *size), generator=torch.Generator().manual_seed(0))
    scores: list[Tensor] = []
    for channel in activation[0]:
        up = nn.functional.interpolate(channel[None, None], size=size, mode="bilinear")
        mask = (up - up.min()) / (up.max() - up.min()).clamp(min=1e-30)
        each = [s * mask + probe.deviation * e for s, e in zip(probe.scales, drawn, strict=True)]
        scores.append(torch.stack([model(image * seen)[0, target] for seen in each]).mean())
    weights = torch.stack(scores).softmax(0)
    return rescale_maps([torch.einsum("k,kij->ij", weights, activation[0])[None]], size).maps

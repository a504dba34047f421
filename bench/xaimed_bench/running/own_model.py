"""The user's own model as a subject of measurements."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from xaimed_bench.data import ImageBatch, load_images, phantoms
from xaimed_bench.measure.subject import Subject
from xaimed_bench.models import calibrate_on_phantoms
from xaimed_bench.networks import Network, layer_names, open_network
from xaimed_bench.weights import first_line
from xaimed_core import explain
from xaimed_core.layout import LayoutLike
from xaimed_reports.store.jsonform import UnusableError

CLASSES = tuple(f"class {k}" for k in range(4))
"""Of a network whose weights nobody gave: how many there are changes no time."""


@final
@dataclass(frozen=True)
class Given:
    """What the user gave. ``layer`` None: the role "last" where known, else the layer that `explain` chooses.

    Several layers have commas between.
    ``size`` None: what the network was made for. ``method``: one that the layer must serve.
    """

    model: str
    checkpoint: Path | None
    data: Path | None
    layer: str | None
    batch: int
    size: int | None
    method: str


def own_subject(given: Given, device: torch.device) -> tuple[Subject, Sequence[str]]:
    """The subject, and what its user must know about the images. Raises UnusableError for what cannot be measured."""
    network = _network(given)
    model = network.model.to(device)
    found = _images(given, network)
    images = _channels(model, found.images).to(device)
    classes = _classes(given, model, images)
    layer, layout = _placed(given, network, model, images, classes)

    @cache
    def apart(name: str) -> nn.Module:
        return copy.deepcopy(model)

    return Subject(model, apart, layer, images, classes, found.pixels, layout), found.findings


def _network(given: Given) -> Network:
    """With weights of its own, of a checkpoint, or seeded ones that behave like trained ones."""
    try:
        if given.checkpoint is not None:
            return open_network(given.model, checkpoint=given.checkpoint)
        network = open_network(given.model, classes=CLASSES)
        if ":" not in given.model or given.model.startswith("timm:"):
            calibrate_on_phantoms(network.model, size=network.size)
        return network
    except (ValueError, FileNotFoundError) as error:
        raise UnusableError(f"--model {given.model}: {error}") from error


def _images(given: Given, network: Network) -> ImageBatch:
    size, normalisation = given.size or network.size, network.normalisation
    if given.data is None:
        return phantoms("mri", given.batch, size=size, normalisation=normalisation)
    try:
        found = load_images(
            given.data, count=given.batch, size=size, normalisation=normalisation, progress=False
        )
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        raise UnusableError(f"--data: {error}") from error
    if len(found) < given.batch:
        raise UnusableError(
            f"--data: {len(found)} images can be read, {given.batch} are needed; lower --batch"
        )
    return found


def _channels(model: nn.Module, images: Tensor) -> Tensor:
    """The images in as many channels as the first convolution reads: three, or one, their mean."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    count = first.in_channels if first is not None else 3
    if count not in (1, 3):
        raise UnusableError(
            f"the model reads {count} channels, and images have 3 or 1; wrap it in one that adds them"
        )
    return images if count == 3 else images.mean(1, keepdim=True)


@torch.no_grad()
def _classes(given: Given, model: nn.Module, images: Tensor) -> tuple[int, ...]:
    of = f"--model {given.model}: its forward pass on images of {tuple(images.shape)}"
    try:
        logits: object = model(images)
    except Exception as error:  # of the user's own code
        raise UnusableError(f"{of} raised {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnusableError(
            f"{of} gave {shape}; scores [images, classes] are needed, so wrap it in a module that gives them"
        )
    return tuple(logits.argmax(1).tolist())


def _placed(
    given: Given, network: Network, model: nn.Module, images: Tensor, classes: Sequence[int]
) -> tuple[str, LayoutLike]:
    """The layer's dotted name, or several, and how they hold places: tried on one image."""
    asked = given.layer or ("last" if "last" in network.layers else None)
    layer = asked and layer_names(asked, network.layers).split(",")
    refused: Exception | None = None
    layouts: tuple[LayoutLike, ...] = (None, "infer")
    for layout in layouts:
        try:
            found = explain(
                model, images[:1], given.method, layer, list(classes[:1]), semantics="grad-cam", layout=layout
            )
            return ",".join(layer or [found.layer]), layout
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            refused = refused or error
    raise UnusableError(f"--model {given.model} cannot be explained: {refused}") from refused

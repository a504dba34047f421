"""What a user asks of an evaluation, and the images, the network and the settings that follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

import torch
from torch import nn

from xaimed_bench.bench_options import named
from xaimed_bench.data.sets import ImageSet, Item, Leak, open_set
from xaimed_bench.networks import Network, layer_names, open_network
from xaimed_bench.study.evaluate import maps, scores
from xaimed_bench.study.evaluate.settings import Settings
from xaimed_bench.study.evaluate.work import Work
from xaimed_bench.study.train.team import Team
from xaimed_bench.tensor_files import read_header
from xaimed_core import METHODS, __version__
from xaimed_core.faithfulness.metric import TUTORIAL
from xaimed_reports.store.jsonform import UnusableError


@final
@dataclass(frozen=True)
class Asked:
    """The options of `xaimed evaluate`, by their names.

    ``rename``: pairs of a class of the images and what the network calls it. ``methods``, ``metrics``: names with
    commas between, None for the usual ones. ``steps``: of deletion and insertion.
    """

    data: Path
    out: Path
    model: str | None = None
    checkpoint: Path | None = None
    init: str = "scratch"
    layer: Sequence[str] | None = None
    methods: str | None = None
    metrics: str | None = None
    steps: int = 20
    split: Literal["testing", "validation", "all"] = "testing"
    rename: Sequence[tuple[str, str]] = ()
    drop_leaks: Leak | Literal[False] = False
    limit: int | None = None
    size: int | None = None
    threshold: float | None = None
    tolerance: int = 15
    batch: int = 4
    seed: int = 0
    workers: int = 1
    resume: bool = False
    no_images: bool = False


def prepare(asked: Asked, team: Team) -> tuple[Work, ImageSet]:
    """The work to do, and the whole set of images. Raises UnusableError for what cannot be used."""
    if asked.checkpoint is None and asked.model is None:
        raise UnusableError(
            "give --checkpoint FILE of xaimed train, or --model NAME; see xaimed evaluate --help"
        )
    try:
        images = open_set(asked.data, seed=asked.seed, drop_leaks=asked.drop_leaks)
        images = _renamed(images, dict(asked.rename))
        network = _network(asked, images)
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        raise UnusableError(str(error)) from error
    items = _items(asked, images)
    settings = _settings(asked, images, items, network)
    for name in ",".join(settings.layers.values()).split(","):
        try:
            network.model.get_submodule(name)
        except AttributeError:
            raise UnusableError(f"--layer {name}: {network.title} has no such module") from None
    _check_served(settings)
    model = network.model.to(team.device)
    return Work(model, network.normalisation, items, settings, team, asked.workers), images


def _renamed(images: ImageSet, names: Mapping[str, str]) -> ImageSet:
    """The set with its classes called as the network calls them. Raises UnusableError for a class it lacks."""
    if lacking := sorted(names.keys() - set(images.classes)):
        raise UnusableError(
            f"--rename {lacking[0]}: no such class; there are {', '.join(images.classes) or 'none'}"
        )
    items = tuple(replace(item, label=names.get(item.label or "", item.label)) for item in images.items)
    return replace(images, items=items, classes=tuple(sorted({names.get(c, c) for c in images.classes})))


def _network(asked: Asked, images: ImageSet) -> Network:
    """Raises UnusableError where the images have a class that it does not know, else as `open_network`."""
    own = asked.checkpoint is not None and "network" in read_header(asked.checkpoint)
    network = open_network(
        asked.model, checkpoint=asked.checkpoint, classes=None if own else images.classes or None,
        init=asked.init, seed=asked.seed,
    )  # fmt: skip
    if unknown := sorted(set(images.classes) - set(network.classes)):
        raise UnusableError(
            f"{asked.data} has the class {unknown[0]!r}, and the network knows {', '.join(network.classes)}; "
            f"say which it is: --rename '{unknown[0]}=NAME'"
        )
    return network


def _items(asked: Asked, images: ImageSet) -> tuple[Item, ...]:
    """The images of the split, of which ``limit`` takes some, spread evenly."""
    found = images.items if asked.split == "all" else images.split(asked.split)
    if not found:
        raise UnusableError(f"{asked.data} has no {asked.split} image; give --split all")
    if asked.limit and asked.limit < len(found):
        found = tuple(found[i * len(found) // asked.limit] for i in range(asked.limit))
    return found


def _settings(asked: Asked, images: ImageSet, items: Sequence[Item], network: Network) -> Settings:
    seen = hashlib.sha256(images.digest.encode() + "\n".join(item.name for item in items).encode())
    return Settings(
        network=network.title,
        weights=_digest(network.model),
        init=network.loaded,
        layers=_layers(asked, network),
        methods=named("--methods", asked.methods, (*METHODS, *maps.HYBRIDS), maps.ALL),
        metrics=scores.with_parts(named("--metrics", asked.metrics, scores.ALL, scores.ALL)),
        steps=asked.steps,
        data=images.name,
        split=asked.split,
        images=seen.hexdigest()[:16],
        count=len(items),
        classes=network.classes,
        size=asked.size or network.size,
        batch=asked.batch,
        removed=TUTORIAL,
        tolerance=float(asked.tolerance),
        threshold=asked.threshold,
        seed=asked.seed,
        version=__version__,
        torch=torch.__version__,
        recipe={key: value for key, value in network.recipe.items() if key in ("init", "freeze")},
    )


def _digest(model: nn.Module) -> str:
    weights = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        weights.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return weights.hexdigest()[:16]


def _check_served(settings: Settings) -> None:
    """Raise UnusableError for a method that no layer serves, and for a layer that serves none."""
    served = {layer: maps.methods_at(layer, settings.methods) for layer in settings.layers.values()}
    for name in settings.methods:
        if not any(name in names for names in served.values()):
            several = METHODS[name].places == "layers"
            needed = "several layers, e.g. --layer layer2,layer3,layer4" if several else "a layer alone"
            raise UnusableError(f"--methods {name}: it needs {needed}")
    for layer, names in served.items():
        if not names:
            raise UnusableError(f"--layer {layer}: none of the methods is for it; leave it out")


def _layers(asked: Asked, network: Network) -> dict[str, str]:
    known = network.layers
    names = asked.layer or [role for role in ("last", "earlier") if role in known]
    if not names:
        raise UnusableError(
            f"no layer of {network.title} is known by a role; give --layer with a dotted name"
        )
    return {name: layer_names(name, known) for name in names}

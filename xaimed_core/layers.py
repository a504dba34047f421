"""Which layers are explained, from a module, a dotted name or nothing, and how what they return lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from xaimed_core.anatomy import Layer, layers_of
from xaimed_core.layout import (
    ChannelsFirst,
    ChannelsLast,
    Layout,
    LayoutLike,
    Tokens,
    Told,
    choose_layout,
)
from xaimed_core.outputs import OutputChoice

NORM = re.compile(r"Norm(Act)?(\dd)?$")
"""Ends of the names of modules that normalise, and do nothing else."""

TOKENS = re.compile(r"Att(entio)?n|LayerNorm", re.IGNORECASE)
"""In the names of modules of networks whose layers may hold something else than ``n c *positions``."""

WRAPPED = re.compile(r"^(module|_orig_mod)\.")
"""Begins the names of what DataParallel and `torch.compile` wrap, which `unwrap` has taken out."""

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
    for name, module in found.items():
        traced = type(module).__name__ == "TopLevelTracedModule"  # its own hooks run, those inside do not
        if isinstance(module, torch.jit.ScriptModule) and not traced:
            raise TypeError(
                f"layer {name} is scripted by torch.jit, which runs without the Python that a layer's output is taken "
                "from; choose a layer outside of the scripted part, or wrap that part in nn.Sequential"
            )
    return found


def default_layer(
    model: nn.Module, layers: Sequence[Layer], images: Tensor, layout: LayoutLike = None
) -> Layer:
    """The last layer on the way to the score that is called once, holds more than one place and is weighed after it.

    It holds ``[n, c, *positions]``. Where the last layers hold places otherwise, as a transformer's do, it is
    with a ``layout`` the first norm of the last block. Raises ValueError where there is none, or no layout is given.
    """
    on_the_way = [layer for layer in layers if layer.used and layer.calls == 1]
    if not any(len(layer.shape) > 2 for layer in on_the_way):
        again = [layer.name for layer in layers if layer.used and layer.calls > 1 and len(layer.shape) > 2]
        if again:
            raise ValueError(
                f"every layer with places on the way is called more than once in one forward, as {again[-1]} "
                "is, so that its output is not one tensor; explain the network without what runs it again"
            )
        raise ValueError(
            "autograd finds no layer with places on the way to the score (is the head quantised, or under no_grad?); "
            'name one, e.g. layer="features", for eigencam or ablationcam'
        )
    usable = [layer for layer in on_the_way if layer.weighed] or on_the_way
    size = tuple(images.shape[2:])
    spatial = _spatial(usable, size)
    tokens = [layer for layer in usable if layer.told.order == "last" and _as_tokens(layer, size) is not None]
    if tokens and spatial and usable.index(tokens[-1]) > usable.index(spatial[-1]):
        spatial = []
    if spatial and (layout is None or (layout == "infer" and not _only_moved(usable, spatial[-1], tokens))):
        return spatial[-1]
    if layout is not None:
        return _default_by_layout(model, usable, size, layout)
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


def _spatial(usable: Sequence[Layer], size: tuple[int, ...]) -> list[Layer]:
    """Layers that hold ``[n, c, *positions]``: where any is known to, only these and what has the shape of the last."""
    holding = [layer for layer in usable if layer.told.order != "last" and _holds_places(layer, size)]
    known = [layer for layer in holding if layer.told.order == "first"]
    return [layer for layer in holding if not known or layer in known or layer.shape == known[-1].shape]


def _only_moved(usable: Sequence[Layer], layer: Layer, tokens: Sequence[Layer]) -> bool:
    """Whether the layer is but the last tokens with their axes moved."""
    before = usable[max(0, usable.index(layer) - 1)]
    return tokens[-1:] == [before] and prod(before.shape) == prod(layer.shape)


def _holds_places(layer: Layer, size: tuple[int, ...]) -> bool:
    if len(layer.shape) != 2 + len(size) or prod(layer.shape[2:]) < 2:
        return False
    try:
        return isinstance(choose_layout(None, layer.shape, size, lambda: layer.told), ChannelsFirst)
    except ValueError:
        return False


def _as_tokens(layer: Layer, size: tuple[int, ...]) -> Layout | None:
    """How the layer holds places with its channels last, None where it does not."""
    try:
        found = choose_layout("infer", layer.shape, size, lambda: layer.told)
    except ValueError:
        return None
    return found if prod(layer.shape[1:-1]) > 1 else None


def _default_by_layout(
    model: nn.Module, usable: Sequence[Layer], size: tuple[int, ...], layout: LayoutLike
) -> Layer:
    """The first norm of the last block, or the last layer that this layout reads where there is no such block."""
    fitting = [layer for layer in usable if _reads(layout, layer, size)]
    if not fitting:
        raise ValueError(
            f"no layer on the way to the score holds places as layout={layout!r} says; name one with layer="
        )
    norms = [layer for layer in fitting if NORM.search(layer.kind)]
    blocks = [block for norm in norms if (block := _block_of(norm.name, model))]
    innermost = [block for block in blocks if not any(other.startswith(f"{block}.") for other in blocks)]
    last = (norms or fitting)[-1]
    first = next((one for one in norms if innermost and one.name.startswith(f"{innermost[-1]}.")), last)
    return (
        first if prod(first.shape[1:-1]) == prod(last.shape[1:-1]) else last
    )  # else later blocks cannot be read


def _block_of(name: str, model: nn.Module) -> str:
    """The block that a layer belongs to: around it, one of several of its kind, numbered if there is such a one."""
    kinds = [type(module) for module in model.modules()]
    parts = name.split(".")
    around = [".".join(parts[:i]) for i in range(len(parts) - 1, 0, -1)]
    repeated = [one for one in around if kinds.count(type(model.get_submodule(one))) > 1]
    return next((one for one in repeated if one[-1].isdigit()), repeated[0] if repeated else "")


def _reads(layout: LayoutLike, layer: Layer, size: tuple[int, ...]) -> bool:
    """Whether the layout fits the layer, and some of the places it shows reach the score."""
    found = _as_tokens(layer, size) if layout is None or layout == "infer" else layout
    every_axis = len(layer.shape) == 2 + len(size)
    match found:
        case Tokens(grid=grid, prefix=prefix):
            return layer.shape[1:-1] == (prefix + prod(grid),) and any(layer.placed[prefix:])
        case ChannelsLast():
            return every_axis and layer.told.order == "last" and any(layer.placed)
        case ChannelsFirst():
            return (
                every_axis and layer.told.order != "last" and prod(layer.shape[2:]) > 1 and any(layer.placed)
            )
        case None:
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
        if layer != (inside := WRAPPED.sub("", layer)):
            return _named(model, inside)
        close = get_close_matches(layer, dict(model.named_modules()), n=3, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(close)}?"
            if close
            else "list(dict(model.named_modules())) shows the names"
        )
        raise ValueError(f"the model has no layer {layer!r}; {hint}") from None


def choose_layouts(
    model: nn.Module,
    names: Iterable[str],
    activations: Iterable[Tensor],
    images: Tensor,
    layout: LayoutLike,
    output: OutputChoice,
) -> list[Layout]:
    """How each of the named layers' ``activations`` lies. Raises as `choose_layout`."""
    return [
        choose_layout(
            layout,
            x.shape,
            map_size(images, x, least=2),
            _asking(model, name, images, output),
            ask=_doubtful(model, x, images),
        )
        for name, x in zip(names, activations, strict=True)
    ]


def find_channel_dim(
    model: nn.Module, name: str, images: Tensor, layout: LayoutLike, output: OutputChoice
) -> int:
    """Where the layer's output holds its channels, known before the forward that is watched."""
    if layout != "infer":
        return layout.channel_dim if layout else 1
    shape = next((layer.shape for layer in layers_of(model, images, output) if layer.name == name), ())
    return choose_layout(layout, shape, images.shape[2:], _asking(model, name, images, output)).channel_dim


def map_size(images: Tensor, activation: Tensor, least: int = 1) -> tuple[int, ...]:
    """The size of a map: the images', or that of their last axes where the others are folded into the batch.

    ``least`` axes are left: an activation that is not yet ``n c *positions`` may hold those of a frame in one.
    """
    axes = max(activation.ndim - 2, least)
    folded = len(activation) != len(images) and 0 < axes < images.ndim - 2
    return tuple(images.shape[-axes:] if folded else images.shape[2:])


def _asking(model: nn.Module, name: str, images: Tensor, output: OutputChoice) -> Callable[[], Told]:
    """Asks the network how a layer's output lies. It costs a forward of one image."""
    return lambda: next(
        (layer.told for layer in layers_of(model, images, output) if layer.name == name), Told()
    )


def _doubtful(model: nn.Module, activation: Tensor, images: Tensor) -> bool:
    """Whether what looks like ``n c *positions`` may be windows, or what attention mixes."""
    return len(activation) != len(images) or any(TOKENS.search(type(m).__name__) for m in model.modules())

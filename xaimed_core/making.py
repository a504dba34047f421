"""From a model and images to every method's raw maps and these scaled: what `explain` does before it says a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from xaimed_core.forward import Observation, Observer, observe
from xaimed_core.layers import choose_layouts, find_channel_dim, map_size
from xaimed_core.layout import Layout, LayoutLike
from xaimed_core.methods import AblationValue, Biases, ChannelProbe, Method, Product
from xaimed_core.methods.method import slopes_of
from xaimed_core.outputs import OutputChoice
from xaimed_core.raw_maps import LayerView, RawMap, Run, read_images, read_layer
from xaimed_core.semantics import Semantics
from xaimed_core.targets import Targets, TargetsLike
from xaimed_kernels.rescale_maps import RescaledMaps, rescale_maps
from xaimed_kernels.rescale_maps.reference import min_max

if TYPE_CHECKING:
    from xaimed_core.tail.interface import Tail, TailObserver

Raws = Mapping[str, tuple[RawMap, ...]]
"""Per method the map at each layer; one alone of a method whose map has the images' size."""


@final
@dataclass(frozen=True)
class Options:
    """What `explain` was asked besides model, images, layers, methods and targets."""

    against: TargetsLike
    layout: LayoutLike
    output: OutputChoice
    classes: Sequence[str] | None
    semantics: Semantics
    value: AblationValue
    memory_bytes: int | None
    progress: bool


@final
@dataclass(frozen=True)
class Made:
    """``seen``: the forward. ``layouts``: of the layers. ``raws``: for each of the targets.

    ``rescaled``: methods vary slowest, then targets, then images.
    """

    seen: Observation
    layouts: Sequence[Layout]
    raws: tuple[Raws, ...]
    rescaled: RescaledMaps


def make(
    model: nn.Module,
    images: Tensor,
    layers: Mapping[str, nn.Module],
    methods: Sequence[Method],
    targets: TargetsLike | Targets,
    asked: Options,
) -> Made:
    """All maps of these images. Arguments as `explain` has checked them; raises what `observe` and the methods do."""
    at_layers = dict.fromkeys(method.at_layers for method in methods if not method.of_whole_images)
    tails: dict[str, TailObserver] = {}
    if any(isinstance(method.kind, ChannelProbe) for method in at_layers):
        tails = _observers(model, layers, images, asked)
    observers: dict[str, Observer] = {**tails}
    biases = None
    if any(isinstance(method.kind, Biases) for method in methods):
        from xaimed_core.probes.biases import BiasWatch

        biases = observers["the whole network"] = BiasWatch(model, images)
    slopes = slopes_of(methods)
    seen = observe(
        model,
        images if biases is None else biases.images,
        layers,
        targets,
        against=asked.against,
        gradients="score" in slopes,
        besides=slopes - {"score"},
        scored=targets is not None or any(method.needs_score for method in methods),
        observers=observers,
        output=asked.output,
        classes=asked.classes,
        share_eps=asked.semantics.share_eps,
    )
    with torch.inference_mode(False), torch.no_grad():
        layouts = choose_layouts(model, layers, seen.activations, images, asked.layout, asked.output)
        _refuse_folded(methods, layers, seen, images)
        quiet = replace(asked, against=None, progress=False)

        def again(rows: Tensor, of: Sequence[Method], own: Targets) -> Made:
            return make(model, rows, layers, of, own, quiet)

        run = Run(model, images, seen.logits, again, asked.output, asked.progress, biases)
        known = {name: observer.tail() for name, observer in tails.items()}
        raws: list[Raws] = []
        for j, one in enumerate(seen.targets or (None,)):
            views = (
                _view(seen, i, j, named, layouts[i], known, asked.value)
                for i, named in enumerate(layers.items())
            )
            read = [read_layer(view, tuple(at_layers), asked.semantics, run, one) for view in views]
            raws.append({m.name: _of_method(m, read, asked.semantics, run, one) for m in methods})
        size = map_size(images, layouts[0].to_maps(seen.activations[0])) if layers else images.shape[2:]
        return Made(seen, layouts, tuple(raws), _rescaled(raws, methods, size, asked.semantics.min_max_eps))


def _of_method(
    method: Method,
    read: Sequence[Mapping[str, RawMap]],
    semantics: Semantics,
    run: Run,
    targets: Targets | None,
) -> tuple[RawMap, ...]:
    if method.of_whole_images:
        assert targets is not None
        return (read_images(method, semantics, run, targets),)
    found = tuple(of_layer[method.at_layers.name] for of_layer in read)
    if not isinstance(method.kind, Product):
        return found
    said = f"{found[0].route.steps}; product over {len(found)} layers"
    return tuple(replace(one, route=replace(one.route, steps=said, same_as=())) for one in found)


def _observers(
    model: nn.Module, layers: Mapping[str, nn.Module], images: Tensor, asked: Options
) -> dict[str, TailObserver]:
    """Who watches the forward from each layer on, so that its channels can be ablated."""
    from xaimed_core.tail import observe_tail

    return {
        name: observe_tail(
            model,
            module,
            images,
            channel_dim=find_channel_dim(model, name, images, asked.layout, asked.output),
            memory_bytes=asked.memory_bytes,
            output=asked.output,
            announce=name if asked.progress else "",
        )
        for name, module in layers.items()
    }


def _rescaled(
    raws: Sequence[Raws], methods: Sequence[Method], size: Sequence[int], eps: float
) -> RescaledMaps:
    """Maps of this size, of methods whose raw maps are alike together."""
    alike: dict[tuple[bool, bool], list[str]] = {}
    for method in methods:
        key = method.of_whole_images, isinstance(method.kind, Product)
        alike.setdefault(key, []).append(method.name)
    found: dict[str, tuple[Tensor, ...]] = {}
    for (_, multiplied), names in alike.items():
        parts = [
            [of_class[name][i].raw for name in names for of_class in raws]
            for i in range(len(raws[0][names[0]]))
        ]
        layers = [torch.cat(part) if len(part) > 1 else part[0] for part in parts]
        scaled = _multiplied(layers, size, eps) if multiplied else rescale_maps(layers, size, eps=eps)
        if len(alike) == 1:
            return scaled
        chunks = (part.chunk(len(names)) for part in (scaled.maps, scaled.empty, scaled.finite))
        found |= zip(names, zip(*chunks, strict=True), strict=True)
    in_order = zip(*(found[method.name] for method in methods), strict=True)
    return RescaledMaps(*map(torch.cat, in_order))


def _multiplied(layers: Sequence[Tensor], size: Sequence[int], eps: float) -> RescaledMaps:
    """The product of the layers' scaled maps, scaled again: once, where an epsilon lets a second time count."""
    each = [rescale_maps(raw, size, eps=eps) for raw in layers]
    product = torch.stack([one.maps for one in each]).prod(0)
    again = rescale_maps(product, size)
    maps = min_max(product, eps)[0] if eps else again.maps
    finite = torch.stack([one.finite for one in each]).all(0)
    return replace(again, maps=maps, finite=finite, empty=again.empty & finite)


def _view(
    seen: Observation,
    i: int,
    j: int,
    named: tuple[str, nn.Module],
    layout: Layout,
    tails: Mapping[str, Tail],
    value: AblationValue,
) -> LayerView:
    return LayerView(
        *named,
        layout,
        activations=layout.to_maps(seen.activations[i]),
        gradients=layout.to_maps(seen.gradients[j][i]) if seen.gradients else None,
        pooled=seen.pooled,
        tail=tails.get(named[0]),
        value=value,
        besides={slope: layout.to_maps(of[j][i]) for slope, of in seen.besides.items()},
    )


def _refuse_folded(
    methods: Sequence[Method], layers: Mapping[str, nn.Module], seen: Observation, images: Tensor
) -> None:
    """A layer may return several rows per image, where a method needs no more than its output and gradient."""
    counts = {len(activation) for activation in seen.activations}
    if counts <= {len(images)}:
        return
    (count, *others) = sorted(counts)
    if others or count % len(images):
        raise ValueError(
            f"layer {', '.join(layers)} returned {', '.join(map(str, sorted(counts)))} rows for {len(images)} images; "
            "a layer must return one row per image, or the same number for each"
        )
    probes = [method.name for method in methods if method.runs_again or method.of_whole_images]
    if probes:
        raise ValueError(
            f"layer {', '.join(layers)} returns {count // len(images)} rows per image (frames, or parts), for which "
            f"{', '.join(probes)} has no score of its own; ask for a gradient method, e.g. xgradcam"
        )

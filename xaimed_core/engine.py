"""`explain`: one forward, any number of CAM methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from xaimed_core.admission import admit_images, admit_model
from xaimed_core.anatomy import layers_of
from xaimed_core.classes import check_names
from xaimed_core.explanation import Explanation, combine
from xaimed_core.findings import Findings, read_findings
from xaimed_core.forward import Observation, observe
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.layers import LayerLike, resolve_layers
from xaimed_core.layout import AxisOrder, Layout, LayoutLike, check_layout, choose_layout
from xaimed_core.maps import Maps
from xaimed_core.methods import METHODS, AblationValue, ChannelProbe, InputProbe, Method
from xaimed_core.methods.method import check_value, method_of, names_of
from xaimed_core.outputs import OutputChoice
from xaimed_core.raw_maps import LayerView, RawMap, Run, read_layer
from xaimed_core.semantics import SemanticsName, semantics_of
from xaimed_core.targets import TargetsLike, are_several
from xaimed_kernels.rescale_maps import rescale_maps

if TYPE_CHECKING:
    from xaimed_core.tail.interface import Tail, TailObserver

__all__ = ["Explanation", "explain"]


@self_contained
def explain(
    model: nn.Module,
    images: Tensor,
    methods: str | Sequence[str] = ("xgradcam",),
    layer: LayerLike = None,
    targets: TargetsLike = None,
    *,
    against: TargetsLike = None,
    layout: LayoutLike = None,
    output: OutputChoice = None,
    classes: Sequence[str] | None = None,
    semantics: SemanticsName = "definition",
    value: AblationValue = "zero",
    memory_bytes: int | None = None,
    progress: bool = True,
) -> Explanation:
    """Explain what the model sees in ``images [n, channels, *size]`` by every method asked for, in one forward pass.

    layer: a module of the model, its dotted name, or several of them (their maps are averaged); None takes the
        last layer on the way to the score that returns ``[n, c, *positions]`` with more than one position, or with
        ``layout="infer"`` the first norm of the last block. A layer that returns several rows per image, as where
        the frames of a video are folded into the batch, gives a map for each.
    targets: the score explained: None (each image's top class), a class by number or name, one class per image, or
        callables that turn one image's output row into its score. "all", or a list of classes for each image,
        explains several: see `Explanation.of`.
    against: the class, or one per image, that the targets are contrasted with: why this and not that. The score
        is the difference of the two logits.
    layout: for layers that are not ``[n, c, *positions]``: `Tokens`, `ChannelsLast` or "infer".
    output: which of several outputs the scores are: its place or key, or a callable on what the model returns.
    classes: the names of the classes, where the model does not hold them itself.
    semantics: "definition" follows the papers, "grad-cam" the package of that name with its epsilons.
    value: what AblationCAM puts in a channel's place: 0, or the channel's own minimum or mean over positions.
    memory_bytes: the most that AblationCAM may take for its chunks; None asks the device.
    progress: whether to say on stderr how long it will take, where that is more than a few seconds.

    The model's mode, hooks and gradients are never touched: copies of its modules run, which share its tensors.
    Raises ValueError, TypeError or IndexError that say what was wrong and what to give instead. A map that cannot
    be made for one image is 0 and has its reason in `Explanation.reason`; the other images are explained.
    """
    names = names_of(methods)
    if not names:
        raise ValueError(f"no method was asked for; the methods are {', '.join(METHODS)}")
    chosen = [method_of(name, METHODS) for name in names]
    reading = semantics_of(semantics)
    check_value(value)
    if memory_bytes is not None:
        from xaimed_core.memory import check_asked

        check_asked(memory_bytes)
    check_names(classes)
    check_layout(layout)
    model, unwrapped = admit_model(model)
    images = admit_images(model, images)
    layers = resolve_layers(model, layer, images, layout, output)
    gradients = any(method.needs_gradient for method in chosen)
    observers: dict[str, TailObserver] = {}
    if any(isinstance(method.kind, ChannelProbe) for method in chosen):
        from xaimed_core.tail import observe_tail

        for name, module in layers.items():
            dim = _channel_dim(model, name, images, layout, output)
            observers[name] = observe_tail(
                model,
                module,
                images,
                channel_dim=dim,
                memory_bytes=memory_bytes,
                output=output,
                announce=name if progress else "",
            )
    seen = observe(
        model,
        images,
        layers,
        targets,
        against=against,
        gradients=gradients,
        scored=targets is not None or any(method.needs_score for method in chosen),
        observers=observers,
        output=output,
        classes=classes,
    )
    with torch.inference_mode(False), torch.no_grad():
        layouts = _layouts(model, layers, images, seen, layout, output)
        _refuse_folded(chosen, layers, seen, images)
        tails = {name: observer.tail() for name, observer in observers.items()}
        run = Run(model, images, seen.logits, output, progress)
        maps = [
            [
                read_layer(
                    _view(seen, i, j, layouts[i], tails.get(name), value), chosen, reading, run, of_class
                )
                for i, name in enumerate(layers)
            ]
            for j, of_class in enumerate(seen.targets or (None,))
        ]
        size = _map_size(images, layouts[0].to_maps(seen.activations[0]))
        raws = [
            torch.cat([of_class[i][name].raw for name in names for of_class in maps])
            for i in range(len(layers))
        ]
        rescaled = rescale_maps(raws, size, eps=reading.min_max_eps)
        findings = read_findings(rescaled, chosen, reading, model, images, layers, layouts, seen)
        made, empty = rescaled.maps, rescaled.empty
        if findings.failed:
            at = torch.tensor(findings.failed, device=made.device)
            made, empty = made.index_fill(0, at, 0.0), empty.index_fill(0, at, True)
    said = tuple(filter(None, (*seen.route, unwrapped, _said_of_layer(layer, layers))))
    parts = tuple(
        _explanation(names, maps[j], made, empty, findings, seen, j, layers, said, output)
        for j in range(len(maps))
    )
    return combine(parts) if are_several(targets) else parts[0]


def _view(
    seen: Observation, i: int, j: int, layout: Layout, tail: Tail | None, value: AblationValue
) -> LayerView:
    return LayerView(
        activations=layout.to_maps(seen.activations[i]),
        gradients=layout.to_maps(seen.gradients[j][i]) if seen.gradients else None,
        pooled=seen.pooled,
        tail=tail,
        value=value,
    )


def _explanation(
    names: Sequence[str],
    of_layers: Sequence[Mapping[str, RawMap]],
    made: Tensor,
    empty: Tensor,
    findings: Findings,
    seen: Observation,
    j: int,
    layers: Mapping[str, nn.Module],
    said: Sequence[str],
    output: OutputChoice,
) -> Explanation:
    """What was found for the j-th class; ``made`` and ``empty`` hold methods, then classes, then images."""
    classes = max(len(seen.targets), 1)
    by_method = dict(zip(names, made.chunk(len(names)), strict=True))
    targets = seen.targets[j] if seen.targets else None
    weights = {name: [w for of in of_layers if (w := of[name].weights) is not None] for name in names}
    return Explanation(
        maps=Maps({name: part.chunk(classes)[j] for name, part in by_method.items()}, targets, output),
        raw={name: _one_or_all([of[name].raw for of in of_layers]) for name in names},
        weights={name: _one_or_all(found) for name, found in weights.items() if found},
        empty={
            name: part.chunk(classes)[j] for name, part in zip(names, empty.chunk(len(names)), strict=True)
        },
        reason={name: findings.reason[name, j] for name in names},
        route={
            name: replace(
                of_layers[0][name].route, remarks=(*said, *filter(None, [findings.notes.get((name, j))]))
            )
            for name in names
        },
        logits=seen.logits,
        targets=targets,
        layer=", ".join(layers),
    )


def _layouts(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    images: Tensor,
    seen: Observation,
    layout: LayoutLike,
    output: OutputChoice,
) -> list[Layout]:
    return [
        choose_layout(
            layout,
            activation.shape,
            _map_size(images, activation, least=2),
            _order_of(model, name, images, output),
        )
        for name, activation in zip(layers, seen.activations, strict=True)
    ]


def _order_of(model: nn.Module, name: str, images: Tensor, output: OutputChoice) -> Callable[[], AxisOrder]:
    """Asks the network how a layer's output lies, only where shapes leave a doubt: it costs a forward of one image."""

    def order() -> AxisOrder:
        return next((layer.order for layer in layers_of(model, images, output) if layer.name == name), None)

    return order


def _channel_dim(
    model: nn.Module, name: str, images: Tensor, layout: LayoutLike, output: OutputChoice
) -> int:
    """Where the layer's output holds its channels, known before the forward that is watched."""
    if layout != "infer":
        return layout.channel_dim if layout else 1
    shape = next((layer.shape for layer in layers_of(model, images, output) if layer.name == name), ())
    return choose_layout(layout, shape, images.shape[2:], _order_of(model, name, images, output)).channel_dim


def _map_size(images: Tensor, activation: Tensor, least: int = 1) -> tuple[int, ...]:
    """The size of a map: the images', or that of their last axes where the others are folded into the batch.

    ``least`` axes are left: an activation that is not yet ``n c *positions`` may hold those of a frame in one.
    """
    axes = max(activation.ndim - 2, least)
    folded = len(activation) != len(images) and 0 < axes < images.ndim - 2
    return tuple(images.shape[-axes:] if folded else images.shape[2:])


def _refuse_folded(
    methods: Sequence[Method], layers: Mapping[str, nn.Module], seen: Observation, images: Tensor
) -> None:
    """A layer may return several rows per image, where a method needs no more than its output and gradient."""
    counts = {len(activation) for activation in seen.activations}
    if counts == {len(images)}:
        return
    (count, *others) = sorted(counts)
    if others or count % len(images):
        raise ValueError(
            f"layer {', '.join(layers)} returned {', '.join(map(str, sorted(counts)))} rows for {len(images)} images; "
            "a layer must return one row per image, or the same number for each"
        )
    probes = [method.name for method in methods if isinstance(method.kind, ChannelProbe | InputProbe)]
    if probes:
        raise ValueError(
            f"layer {', '.join(layers)} returns {count // len(images)} rows per image (frames, or parts), for which "
            f"{', '.join(probes)} has no score of its own; ask for a gradient method, e.g. xgradcam"
        )


def _said_of_layer(layer: LayerLike, layers: Mapping[str, nn.Module]) -> str:
    return f"layer {next(iter(layers))} chosen" if layer is None else ""


def _one_or_all(tensors: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)

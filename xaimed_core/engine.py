"""`explain`: one forward, any number of CAM methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from xaimed_core.admission import admit_images, admit_model
from xaimed_core.classes import check_names
from xaimed_core.explanation import Explanation, Maps, combine
from xaimed_core.findings import Findings, read_findings, warn_if_signed
from xaimed_core.forward import Observation
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.layers import LayerLike, resolve_layers
from xaimed_core.layout import LayoutLike, check_layout
from xaimed_core.making import Options, make
from xaimed_core.methods import METHODS, AblationValue, Method, method_of, names_of
from xaimed_core.methods.method import check_value
from xaimed_core.outputs import OutputChoice
from xaimed_core.raw_maps import RawMap
from xaimed_core.semantics import SemanticsName, semantics_of
from xaimed_core.targets import TargetsLike, are_several
from xaimed_kernels.rescale_maps import RescaledMaps

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
        is the difference of the two logits. Several per image, [[1, 2], [0, 3]], weigh by their probabilities
        (see `xaimed_core.contrast`).
    layout: for layers that are not ``[n, c, *positions]``: `Tokens`, `ChannelsLast` or "infer".
    output: which of several outputs the scores are: its place or key, or a callable on what the model returns.
    classes: the names of the classes, where the model does not hold them itself.
    semantics: "definition" follows the papers, "grad-cam" the package of that name with its epsilons.
    value: what AblationCAM puts in a channel's place: 0, or the channel's own minimum or mean over positions.
    memory_bytes: the most that AblationCAM may take for its chunks; None asks the device.
    progress: whether to say on stderr how long it will take, where that is more than a few seconds.

    The model's mode, hooks and gradients are never touched: copies of its modules run, which share its tensors.
    Raises ValueError, TypeError or IndexError that say what was wrong and what to give instead. A map that cannot
    be made for one image is 0 and has its reason in `Explanation.reason`; the other images are explained. Warns once
    where a method is ill-conditioned at a layer and another one is better (`xaimed_core.findings`).
    """
    by_name, reading = _methods(methods), semantics_of(semantics)
    names, chosen = tuple(by_name), tuple(by_name.values())
    _check(value, memory_bytes, classes, layout)
    model, unwrapped = admit_model(model)
    images = admit_images(model, images)
    layers: dict[str, nn.Module] = {}
    if layer is not None or any(method.places != "network" for method in chosen):
        layers = resolve_layers(model, layer, images, layout, output)
    _check_places(chosen, layers)
    asked = Options(against, layout, output, classes, reading, value, memory_bytes, progress)
    made = make(model, images, layers, chosen, targets, asked)
    seen = made.seen
    if len(images) > 1 and any(method.needs_gradient for method in chosen):
        from xaimed_core.dependence import warn_if_normalised_together

        warn_if_normalised_together(model)
    with torch.inference_mode(False), torch.no_grad():
        findings = read_findings(made.rescaled, chosen, reading, model, images, layers, made.layouts, seen)
        rescaled = _without(made.rescaled, findings.failed)
        if semantics == "definition":  # who asks for grad-cam's arithmetic wants what grad-cam gives
            warn_if_signed(model, chosen, images, layers, seen.activations, output)
    said = tuple(filter(None, (*seen.route, unwrapped, _said_of_layer(layer, layers))))
    parts = tuple(
        _explanation(names, raws, rescaled, findings, seen, j, layers, said, output)
        for j, raws in enumerate(made.raws)
    )
    return combine(parts) if are_several(targets) else parts[0]


def _methods(methods: str | Sequence[str]) -> dict[str, Method]:
    names = names_of(methods)
    if not names:
        raise ValueError(f"no method was asked for; the methods are {', '.join(METHODS)}")
    return {name: method_of(name) for name in names}


def _check(
    value: AblationValue, memory_bytes: int | None, classes: Sequence[str] | None, layout: LayoutLike
) -> None:
    """Raise before anything runs."""
    check_value(value)
    if memory_bytes is not None:
        from xaimed_core.memory import check_asked

        check_asked(memory_bytes)
    check_names(classes)
    check_layout(layout)


def _without(rescaled: RescaledMaps, failed: Sequence[int]) -> RescaledMaps:
    """Maps that could not be made are 0."""
    if not failed:
        return rescaled
    at = torch.tensor(failed, device=rescaled.maps.device)
    return replace(
        rescaled, maps=rescaled.maps.index_fill(0, at, 0.0), empty=rescaled.empty.index_fill(0, at, True)
    )


def _explanation(
    names: Sequence[str],
    raws: Mapping[str, Sequence[RawMap]],
    rescaled: RescaledMaps,
    findings: Findings,
    seen: Observation,
    j: int,
    layers: Mapping[str, nn.Module],
    said: Sequence[str],
    output: OutputChoice,
) -> Explanation:
    """What was found for the j-th class; ``rescaled`` holds methods, then classes, then images."""
    classes = max(len(seen.targets), 1)
    made, empty = (
        {name: part.chunk(classes)[j] for name, part in zip(names, x.chunk(len(names)), strict=True)}
        for x in (rescaled.maps, rescaled.empty)
    )
    targets = seen.targets[j] if seen.targets else None
    weights = {name: [w for of in raws[name] if (w := of.weights) is not None] for name in names}
    return Explanation(
        maps=Maps(made, targets, output),
        raw={name: _one_or_all([of.raw for of in raws[name]]) for name in names},
        weights={name: _one_or_all(found) for name, found in weights.items() if found},
        empty=empty,
        reason={name: findings.reason[name, j] for name in names},
        route={
            name: replace(
                raws[name][0].route, remarks=(*said, *filter(None, [findings.notes.get((name, j))]))
            )
            for name in names
        },
        logits=seen.logits,
        targets=targets,
        layer=", ".join(layers) or "none",
    )


def _check_places(methods: Sequence[Method], layers: Mapping[str, nn.Module]) -> None:
    """Raise where a method needs several layers and one is given, or reads none and several are."""
    for method in methods:
        if method.places == "layers" and len(layers) < 2:
            raise ValueError(
                f"{method.name} multiplies the maps of several layers; give two or more, e.g. "
                'layer=["layer2", "layer3", "layer4"]'
            )
        if method.places == "network" and len(layers) > 1:
            raise ValueError(
                f"{method.name} reads the whole network, and no list of layers; leave layer out, or ask for it apart"
            )


def _said_of_layer(layer: LayerLike, layers: Mapping[str, nn.Module]) -> str:
    return f"layer {next(iter(layers))} chosen" if layer is None and layers else ""


def _one_or_all(tensors: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)

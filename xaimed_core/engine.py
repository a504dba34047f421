"""`explain`: one forward, any number of CAM methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from xaimed_core.admission import admit_images, admit_model
from xaimed_core.classes import check_names
from xaimed_core.explanation import Explanation, combine
from xaimed_core.findings import Findings, read_findings, warn_if_signed
from xaimed_core.forward import Observation, observe
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.layers import LayerLike, choose_layouts, find_channel_dim, map_size, resolve_layers
from xaimed_core.layout import Layout, LayoutLike, check_layout
from xaimed_core.maps import Maps
from xaimed_core.methods import METHODS, AblationValue, ChannelProbe, Method
from xaimed_core.methods.method import check_value, method_of, names_of, slopes_of
from xaimed_core.outputs import OutputChoice
from xaimed_core.raw_maps import LayerView, RawMap, Run, read_layer
from xaimed_core.semantics import Semantics, SemanticsName, semantics_of
from xaimed_core.targets import TargetsLike, are_several
from xaimed_kernels.rescale_maps import RescaledMaps, rescale_maps

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
    chosen = tuple(by_name.values())
    _check(value, memory_bytes, classes, layout)
    model, unwrapped = admit_model(model)
    images = admit_images(model, images)
    layers = resolve_layers(model, layer, images, layout, output)
    observers = _observers(chosen, model, layers, images, layout, memory_bytes, output, progress)
    slopes = slopes_of(chosen)
    seen = observe(
        model, images, layers, targets, against=against, gradients="score" in slopes, besides=slopes - {"score"},
        scored=targets is not None or any(method.needs_score for method in chosen),
        observers=observers, output=output, classes=classes,
    )  # fmt: skip
    with torch.inference_mode(False), torch.no_grad():
        layouts = choose_layouts(model, layers, seen.activations, images, layout, output)
        _refuse_folded(chosen, layers, seen, images)
        run = Run(model, images, seen.logits, output, progress)
        tails = {name: observer.tail() for name, observer in observers.items()}
        read = _Read(by_name, reading, layers, layouts, seen, run, tails, value)
        maps = [read.raw_maps(j) for j in range(max(len(seen.targets), 1))]
        rescaled = read.rescaled(maps)
        findings = read_findings(rescaled, chosen, reading, model, images, layers, layouts, seen)
        rescaled = _without(rescaled, findings.failed)
        if semantics == "definition":  # who asks for grad-cam's arithmetic wants what grad-cam gives
            warn_if_signed(model, chosen, images, layers, seen.activations, output)
    said = tuple(filter(None, (*seen.route, unwrapped, _said_of_layer(layer, layers))))
    parts = tuple(read.explanation(j, of_class, rescaled, findings, said) for j, of_class in enumerate(maps))
    return combine(parts) if are_several(targets) else parts[0]


@final
@dataclass(frozen=True)
class _Read:
    """What was seen of a forward, and by which methods, layouts and arithmetic its maps are read."""

    methods: Mapping[str, Method]
    reading: Semantics
    layers: Mapping[str, nn.Module]
    layouts: Sequence[Layout]
    seen: Observation
    run: Run
    tails: Mapping[str, Tail]
    value: AblationValue

    def raw_maps(self, j: int) -> list[dict[str, RawMap]]:
        """Of the j-th class: each layer's maps by method."""
        seen, target = self.seen, self.seen.targets[j] if self.seen.targets else None
        found: list[dict[str, RawMap]] = []
        for i, (name, module) in enumerate(self.layers.items()):
            to_maps = self.layouts[i].to_maps
            view = LayerView(
                name,
                module,
                self.layouts[i],
                activations=to_maps(seen.activations[i]),
                gradients=to_maps(seen.gradients[j][i]) if seen.gradients else None,
                pooled=seen.pooled,
                tail=self.tails.get(name),
                value=self.value,
                besides={slope: to_maps(of[j][i]) for slope, of in seen.besides.items()},
            )
            found.append(read_layer(view, tuple(self.methods.values()), self.reading, self.run, target))
        return found

    def rescaled(self, maps: Sequence[Sequence[Mapping[str, RawMap]]]) -> RescaledMaps:
        """Maps of the images' size in the order of methods, then classes, then images; ``maps[class][layer][name]``."""
        parts = [
            [of_class[i][name].raw for name in self.methods for of_class in maps]
            for i in range(len(self.layers))
        ]
        raws = [torch.cat(raw) if len(raw) > 1 else raw[0] for raw in parts]
        size = map_size(self.run.images, self.layouts[0].to_maps(self.seen.activations[0]))
        return rescale_maps(raws, size, eps=self.reading.min_max_eps)

    def explanation(
        self,
        j: int,
        of_layers: Sequence[Mapping[str, RawMap]],
        rescaled: RescaledMaps,
        findings: Findings,
        said: Sequence[str],
    ) -> Explanation:
        """What was found for the j-th class; ``rescaled`` holds methods, then classes, then images."""
        seen, names = self.seen, tuple(self.methods)
        classes = max(len(seen.targets), 1)
        made, empty = (
            {name: part.chunk(classes)[j] for name, part in zip(names, x.chunk(len(names)), strict=True)}
            for x in (rescaled.maps, rescaled.empty)
        )
        targets = seen.targets[j] if seen.targets else None
        weights = {name: [w for of in of_layers if (w := of[name].weights) is not None] for name in names}
        remarks = {name: (*said, *filter(None, [findings.notes.get((name, j))])) for name in names}
        return Explanation(
            maps=Maps(made, targets, self.run.output),
            raw={name: _one_or_all([of[name].raw for of in of_layers]) for name in names},
            weights={name: _one_or_all(found) for name, found in weights.items() if found},
            empty=empty,
            reason={name: findings.reason[name, j] for name in names},
            route={name: replace(of_layers[0][name].route, remarks=remarks[name]) for name in names},
            logits=seen.logits,
            targets=targets,
            layer=", ".join(self.layers),
        )


def _methods(methods: str | Sequence[str]) -> dict[str, Method]:
    names = names_of(methods)
    if not names:
        raise ValueError(f"no method was asked for; the methods are {', '.join(METHODS)}")
    return {name: method_of(name, METHODS) for name in names}


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


def _observers(
    methods: Sequence[Method],
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    images: Tensor,
    layout: LayoutLike,
    memory_bytes: int | None,
    output: OutputChoice,
    progress: bool,
) -> dict[str, TailObserver]:
    """Who watches the forward from each layer on, so that its channels can be ablated, where a method does so."""
    if not any(isinstance(method.kind, ChannelProbe) for method in methods):
        return {}
    from xaimed_core.tail import observe_tail

    return {
        name: observe_tail(
            model,
            module,
            images,
            channel_dim=find_channel_dim(model, name, images, layout, output),
            memory_bytes=memory_bytes,
            output=output,
            announce=name if progress else "",
        )
        for name, module in layers.items()
    }


def _without(rescaled: RescaledMaps, failed: Sequence[int]) -> RescaledMaps:
    """Maps that could not be made are 0."""
    if not failed:
        return rescaled
    at = torch.tensor(failed, device=rescaled.maps.device)
    return replace(
        rescaled, maps=rescaled.maps.index_fill(0, at, 0.0), empty=rescaled.empty.index_fill(0, at, True)
    )


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
    probes = [method.name for method in methods if method.runs_again]
    if probes:
        raise ValueError(
            f"layer {', '.join(layers)} returns {count // len(images)} rows per image (frames, or parts), for which "
            f"{', '.join(probes)} has no score of its own; ask for a gradient method, e.g. xgradcam"
        )


def _said_of_layer(layer: LayerLike, layers: Mapping[str, nn.Module]) -> str:
    return f"layer {next(iter(layers))} chosen" if layer is None else ""


def _one_or_all(tensors: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)

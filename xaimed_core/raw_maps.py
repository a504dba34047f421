"""From what one layer showed to each method's signed map at the layer's own size.

What only some kinds of methods run is imported where it runs, so that XGradCAM loads no more than it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never, final

import torch
from torch import Tensor, nn

from xaimed_core.explanation import Route
from xaimed_core.isolation.subject import subject_of, undisturbed
from xaimed_core.layout import Layout
from xaimed_core.methods import (
    AblationValue,
    Attention,
    Biases,
    ChannelProbe,
    InputProbe,
    KernelProjection,
    Method,
    PositionProbe,
    Product,
    Projection,
    Reduction,
    Smoothing,
    Weighing,
    Windows,
)
from xaimed_core.outputs import OutputChoice
from xaimed_core.semantics import Semantics
from xaimed_core.targets import Targets
from xaimed_kernels.backends import working_dtype
from xaimed_kernels.gradient_maps import Formula, gradient_maps

if TYPE_CHECKING:
    from xaimed_core.making import Made
    from xaimed_core.probes.biases import BiasWatch
    from xaimed_core.tail.interface import Tail

_EQUAL_WHERE_POOLED = ("gradcam", "xgradcam", "hirescam")
MAY_CANCEL = "hirescam"
"""Its sum over channels is 0 at every place where what follows forgets the scale of a place (a LayerNorm)."""
CANCELLED = 1e-4
"""Sums below this share of the root of their terms' squares are rounding, or a LayerNorm's epsilon: they were up to
4e-5 before the norms of Swin, ConvNeXt and ViT, and 0.1 or more at every other layer tried (float32)."""


@final
@dataclass(frozen=True)
class LayerView:
    """One layer's activations and gradients as ``[n, c, *positions]``, and its tail where a method runs it again.

    ``name``, ``layer``, ``layout``: the layer, and how what it returns lies. ``besides``: the other slopes that
    reductions read, by name.
    """

    name: str
    layer: nn.Module
    layout: Layout
    activations: Tensor
    gradients: Tensor | None
    pooled: bool
    tail: Tail | None
    value: AblationValue
    besides: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@final
@dataclass(frozen=True)
class Run:
    """What a method that runs the model again needs: the caller's model, its images and what it returned for them.

    ``again(images, methods, targets)`` makes other maps of it at the same layers; ``biases`` watched the forward.
    """

    model: nn.Module
    images: Tensor
    logits: Tensor | None
    again: Callable[[Tensor, Sequence[Method], Targets], Made]
    output: OutputChoice = None
    progress: bool = True
    biases: BiasWatch | None = None


@final
@dataclass(frozen=True)
class RawMap:
    """A signed map ``[n, *positions]``, the channel weights ``[n, c]`` behind it if any, and what ran."""

    raw: Tensor
    weights: Tensor | None
    route: Route


def read_layer(
    view: LayerView,
    methods: Sequence[Method],
    semantics: Semantics,
    run: Run,
    targets: Targets | None,
) -> dict[str, RawMap]:
    """Every method's raw map at this layer; all reductions of one slope read it once, together."""
    reductions = [method for method in methods if isinstance(method.kind, Reduction)]
    found: dict[str, RawMap] = {}
    for slope in dict.fromkeys(method.slope for method in reductions):
        gradients = view.gradients if slope == "score" else view.besides[slope]
        found |= _reduce(view, [m for m in reductions if m.slope == slope], semantics, gradients)
    for method in methods:
        match method.kind:
            case Reduction():
                pass
            case Projection() as projection:
                found[method.name] = _project(view, projection)
            case KernelProjection():
                found[method.name] = _project_by_kernel(view)
            case Weighing(weigh):
                found[method.name] = _weigh(view, weigh)
            case Attention(by_gradient=False):
                from xaimed_core.probes.attention import rollout

                found[method.name] = rollout(view, run)
            case ChannelProbe() | InputProbe() | PositionProbe() | Smoothing() | Attention():
                assert targets is not None
                found[method.name] = _run_again(method, view, semantics, run, targets)
            case Biases() | Product() | Windows():
                raise AssertionError(f"{method.name} has no map at a layer")
            case _:
                assert_never(method.kind)
    return found


def read_images(method: Method, semantics: Semantics, run: Run, targets: Targets) -> RawMap:
    """The raw map of a method whose map has the images' size."""
    match method.kind:
        case Windows() as windows:
            from xaimed_core.probes.windows import slid

            return slid(run, targets, windows)
        case _:
            assert run.biases is not None
            return run.biases.map_of(targets, semantics.min_max_eps)


def _run_again(method: Method, view: LayerView, semantics: Semantics, run: Run, targets: Targets) -> RawMap:
    """The map of a method that asks the model for more scores."""
    match method.kind:
        case ChannelProbe():
            return _ablate(view, semantics, targets)
        case InputProbe() as probe:
            return _mask(run, view, semantics, targets, probe, method.title)
        case PositionProbe():
            from xaimed_core.probes.positions import shown_alone

            return shown_alone(view, run, targets)
        case Smoothing() as smoothing:
            from xaimed_core.probes.noisy import smoothed

            return smoothed(view, run, targets, smoothing)
        case _:
            from xaimed_core.probes.attention import legrad

            return legrad(view, run, targets)


def _reduce(
    view: LayerView, methods: Sequence[Method], semantics: Semantics, gradients: Tensor | None
) -> dict[str, RawMap]:
    formulas: dict[str, Formula] = {}
    for method in methods:
        if isinstance(method.kind, Reduction):
            formulas[method.name] = semantics.formulas.get(method.name, method.kind.formula)
    if not formulas:
        return {}
    assert gradients is not None
    reduced = gradient_maps(view.activations, gradients, tuple(formulas.values()))
    equal = [name for name in _EQUAL_WHERE_POOLED if name in formulas] if view.pooled else []
    found: dict[str, RawMap] = {}
    for i, name in enumerate(formulas):
        same = tuple(other for other in equal if other != name) if name in equal else ()
        route = Route("one pass", "one forward, tail backward; reduction", same_as=same)
        found[name] = RawMap(reduced.maps[i], reduced.weights[i], route)
    if (sums := found.get(MAY_CANCEL)) is not None:
        rounding = cancelled(view.activations, gradients, sums.raw)
        raw = sums.raw.masked_fill(rounding.view(-1, *[1] * (sums.raw.ndim - 1)), 0.0)
        found[MAY_CANCEL] = replace(sums, raw=raw)
    return found


def cancelled(activations: Tensor, gradients: Tensor, sums: Tensor) -> Tensor:
    """Whether all sums of activation x gradient over channels, ``[n, *positions]``, are but rounding; ``[n]``."""
    terms = (activations.float() * gradients.float()).square_().sum(1).sqrt_().flatten(1).amax(1)
    least = max(CANCELLED, 2 * torch.finfo(activations.dtype).eps)
    return sums.flatten(1).abs().amax(1) <= least * terms


def _project(view: LayerView, projection: Projection) -> RawMap:
    from xaimed_kernels.principal_map import principal_map

    if not projection.by_gradient:
        raw = principal_map(view.activations)
        return RawMap(raw, None, Route("one pass", "one forward; principal map of activations"))
    assert view.gradients is not None
    gradients = view.gradients.abs() if projection.magnitude else view.gradients
    raw = principal_map(view.activations, gradients)
    if projection.magnitude:
        extremes = raw.flatten(1)
        flip = -extremes.amin(1) > extremes.amax(1)
        raw = raw.where(~flip.view(-1, *[1] * (raw.ndim - 1)), -raw)
    what = "|gradient|" if projection.magnitude else "gradient"
    return RawMap(
        raw,
        None,
        Route("one pass", f"one forward, tail backward; principal map of {what} x activation"),
    )


def _project_by_kernel(view: LayerView) -> RawMap:
    from xaimed_core.kernel_component import kernel_component

    route = Route("one pass", "one forward; kernel principal map of activations")
    return RawMap(kernel_component(view.activations), None, route)


def _weigh(view: LayerView, weigh: Callable[[Tensor], Tensor]) -> RawMap:
    from xaimed_kernels.weighted_map import weighted_map

    weights = weigh(view.activations.flatten(2).to(working_dtype(view.activations.dtype)))
    route = Route("one pass", "one forward; weights of activations alone")
    return RawMap(weighted_map(view.activations, weights), weights, route)


def _ablate(view: LayerView, semantics: Semantics, targets: Targets) -> RawMap:
    from xaimed_kernels.weighted_map import weighted_map

    assert view.tail is not None
    drops = view.tail.drops(targets, value=view.value)
    weights = drops.drops
    if semantics.divide_by_score:
        weights = weights / drops.scores.unsqueeze(1)
    return RawMap(weighted_map(view.activations, weights), weights, drops.route)


def _mask(
    run: Run, view: LayerView, semantics: Semantics, targets: Targets, probe: InputProbe, title: str
) -> RawMap:
    from xaimed_core.input_probe import masked_scores
    from xaimed_kernels.weighted_map import weighted_map

    subject = subject_of(run.model)
    with undisturbed(subject, run.images.device):
        scores = masked_scores(
            subject.root,
            run.images,
            view.activations,
            targets,
            scales=probe.scales,
            deviation=probe.deviation,
            align_corners=semantics.align_mask_corners,
            eps=semantics.mask_eps,
            output=run.output,
            outputs=run.logits,
            progress=run.progress,
            title=title,
            owner=run.model,
        )
    weights = scores.softmax(1)
    route = Route(
        "full-forward", "full-forward", f"{weights.shape[1] * len(probe.scales)} masked images each"
    )
    return RawMap(weighted_map(view.activations, weights), weights, route)

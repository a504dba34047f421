"""What went wrong: single images, read from the device once, after the last launch, and layers where methods suffer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from typing import final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaimed_core.anatomy import layers_of
from xaimed_core.forward import Observation
from xaimed_core.layers import way_out
from xaimed_core.layout import Layout
from xaimed_core.methods import ChannelProbe, Method
from xaimed_core.outputs import OutputChoice
from xaimed_core.raw_maps import MAY_CANCEL, cancelled
from xaimed_core.semantics import Semantics
from xaimed_core.targets import any_beyond
from xaimed_kernels.rescale_maps import RescaledMaps

SIGNED = 0.25
"""The part of a layer's values below 0 from which it counts as signed.

Of EfficientNet-Lite0's layers (``reports/results/amd-epyc-1-thread/study-lite0.json``) one has 47 % of its values
below 0, before BatchNorm and ReLU6: XGradCAM and GradCAM++ reach there 0.034 and 0.004 of ROAD. Behind that activation
none is below 0, and they reach 0.226 and 0.160; AblationCAM has 0.222 and 0.215. The line is drawn about half-way.
"""

_warned: WeakKeyDictionary[nn.Module, set[tuple[str, str]]] = WeakKeyDictionary()
_looked_at: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


@final
@dataclass(frozen=True)
class Findings:
    """reason: per method and class, one sentence per map, "" for a map that is as it should be.

    failed: the places of maps that could not be made, in the order of the maps given.
    notes: what to do where every map of a method and class is empty.
    """

    reason: dict[tuple[str, int], tuple[str, ...]]
    failed: tuple[int, ...]
    notes: dict[tuple[str, int], str]


def read_findings(
    rescaled: RescaledMaps,
    methods: Sequence[Method],
    semantics: Semantics,
    model: nn.Module,
    images: Tensor,
    layers: Mapping[str, nn.Module],
    layouts: Sequence[Layout],
    seen: Observation,
) -> Findings:
    """Why maps are empty. ``rescaled`` holds methods' maps by class: methods vary slowest, then classes, then images.

    Raises the error that names the cause where a class does not exist, or where a method fails for every image.
    """
    finite, empty, good_image, scored = _read(rescaled, images, seen)
    if any(any_beyond(targets) for targets in seen.targets):
        assert seen.logits is not None
        raise IndexError(
            f"a target is out of range: the model has the classes 0 to {seen.logits.shape[1] - 1}"
        )
    classes, n = max(len(seen.targets), 1), len(images)
    rows = len(finite) // (len(methods) * classes)
    of = [r * n // rows for r in range(rows)]
    reason: dict[tuple[str, int], tuple[str, ...]] = {}
    failed: list[int] = []
    notes: dict[tuple[str, int], str] = {}
    for i, method in enumerate(methods):
        for j in range(classes):
            at = (i * classes + j) * rows
            good = scored[j * n : j * n + n] if method.needs_gradient else [True] * n
            bad = [r for r in range(rows) if not (finite[at + r] and good_image[of[r]] and good[of[r]])]
            failed.extend(at + r for r in bad)
            said = _why_not_finite(bad, [good_image[k] for k in of], method, semantics, seen, j)
            if len(bad) == rows:
                raise ValueError(
                    f"no map of {method.name} could be made: {'; '.join(dict.fromkeys(said.values()))}"
                )
            nothing = [r for r in range(rows) if empty[at + r] and r not in said]
            if nothing:
                said |= dict.fromkeys(nothing, _why_empty(method, seen, j, layers, layouts))
            reason[method.name, j] = tuple(said.get(r, "") for r in range(rows))
            if nothing and len(nothing) + len(bad) == rows:
                notes[method.name, j] = _way_out(model, images, layers, said[nothing[0]])
                _warn(model, method, layers, notes[method.name, j])
    return Findings(reason, tuple(failed), notes)


def _read(
    rescaled: RescaledMaps, images: Tensor, seen: Observation
) -> tuple[list[bool], list[bool], list[bool], list[bool]]:
    """Which maps are finite and which empty, which images are finite, and by class the scores of which images are."""
    sums = images.flatten(1).sum(1, dtype=torch.float32)
    parts = (rescaled.finite, rescaled.empty, sums, *seen.scores)
    told = iter(torch.cat([part.to(rescaled.finite.device) for part in parts]).tolist())  # waits once
    finite, empty = ([flag != 0 for flag in islice(told, len(rescaled.finite))] for _ in range(2))
    good_image, scored = [isfinite(x) for x in islice(told, len(images))], [isfinite(x) for x in told]
    return finite, empty, good_image, scored


def _why_not_finite(
    bad: Sequence[int],
    good_image: Sequence[bool],
    method: Method,
    semantics: Semantics,
    seen: Observation,
    j: int,
) -> dict[int, str]:
    if not bad:
        return {}
    computed = [True] * len(good_image)
    if seen.activations:
        computed = torch.stack([a.flatten(1).isfinite().all(1) for a in seen.activations]).all(0).tolist()
    scores = [1.0] * len(computed)
    if method.needs_score and seen.logits is not None:
        each = len(computed) // len(seen.logits)
        scores = seen.targets[j].score(seen.logits).repeat_interleave(each).tolist()
    divided = semantics.divide_by_score and isinstance(method.kind, ChannelProbe)

    def why(r: int) -> str:
        if not good_image[r]:
            return "the images hold NaN or infinite values"
        if not computed[r]:
            return "the layer's activations hold NaN or infinite values, which the model itself computed"
        if not isfinite(scores[r]):
            return "the score is NaN or infinite, which the model computed behind the layer"
        if divided and scores[r] == 0:
            return 'the score is exactly 0, by which grad-cam divides; use semantics="definition"'
        return (
            "the map is not finite although image and activations are: the score's gradient is not, or (gradcam++, "
            "signed activations) sum(A) g meets the pole at -2"
        )

    return {r: why(r) for r in bad}


FLAT = "the score's gradient is exactly 0"


def _why_empty(
    method: Method, seen: Observation, j: int, layers: Mapping[str, nn.Module], layouts: Sequence[Layout]
) -> str:
    if method.of_whole_images:
        return "nothing in the images raises this score"
    where = ", ".join(layers)
    if method.needs_gradient:
        shown = [
            layout.to_maps(g) for layout, g in zip(layouts, seen.gradients_of(j, method.slope), strict=True)
        ]
        if not any(bool(gradient.any()) for gradient in shown):
            return f"{FLAT} at every place of {where}: nothing behind it changes with them"
        if method.name == MAY_CANCEL:
            values = [layout.to_maps(a) for layout, a in zip(layouts, seen.activations, strict=True)]
            if all(bool(cancelled(a, g, (a * g).sum(1)).all()) for a, g in zip(values, shown, strict=True)):
                return (
                    f"gradient x activation sums to 0 at every place of {where}: what follows, as a LayerNorm does, "
                    "forgets the scale of each place"
                )
    return f"nothing at {where} raises this score"


def _way_out(model: nn.Module, images: Tensor, layers: Mapping[str, nn.Module], why: str) -> str:
    other = way_out(model, images, layers) if why.startswith(FLAT) else ""
    return f"{why}; use layer={other!r}" if other else f"{why}; look at another layer or another method"


def _warn(model: nn.Module, method: Method, layers: Mapping[str, nn.Module], note: str) -> None:
    """Once per model, layer and method."""
    key = method.name, ", ".join(layers)
    said = _warned.setdefault(model, set())
    if key not in said:
        said.add(key)
        warnings.warn(f"every {method.name} map is empty: {note}", UserWarning, stacklevel=5)


def warn_if_signed(
    model: nn.Module,
    methods: Iterable[Method],
    images: Tensor,
    layers: Mapping[str, nn.Module],
    activations: Sequence[Tensor],
    output: OutputChoice,
) -> None:
    """Warn where a layer is signed and the output of its activation could be explained instead.

    Each layer of a model is looked at once, in the first batch; the host waits for the device then and not again.
    Where no module gives the activation's output, as in DenseNet, whose last ReLU is a function, nothing is said.
    """
    names = [method.name for method in methods if method.divides_by_sum]
    seen = _looked_at.setdefault(model, set())
    for name, values in zip(layers, activations, strict=True):
        if not names or name in seen:
            continue
        seen.add(name)
        negative = float((values < 0).mean(dtype=torch.float32))
        better = _activation(model, images, name, output) if negative >= SIGNED else ""
        if better:
            divide = "divides" if len(names) == 1 else "divide"
            warnings.warn(
                f"{' and '.join(names)} {divide} by each channel's sum, and {negative:.0%} of the values at {name} are "
                f"negative, so that sums cancel; use layer={better!r}, the output of its activation, or ablationcam",
                UserWarning,
                stacklevel=4,
            )


def _activation(model: nn.Module, images: Tensor, name: str, output: OutputChoice) -> str:
    try:
        layers = layers_of(model, images, output)
    except (
        RuntimeError,
        ValueError,
        TypeError,
    ):  # it differentiates more than the maps need, which are there
        return ""
    return next((layer.activation for layer in layers if layer.name == name), "")

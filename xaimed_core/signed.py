"""Layers whose values have both signs, at which methods that divide by a channel's sum are ill-conditioned."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaimed_core.anatomy import layers_of
from xaimed_core.methods import Method
from xaimed_core.outputs import OutputChoice

SIGNED = 0.25
"""The part of a layer's values below 0 from which it counts as signed.

Of EfficientNet-Lite0's layers (``reports/results/amd-epyc-1-thread/study-lite0.json``) one has 47 % of its values
below 0, before BatchNorm and ReLU6: XGradCAM and GradCAM++ reach there 0.034 and 0.004 of ROAD. Behind that activation
none is below 0, and they reach 0.226 and 0.160; AblationCAM has 0.222 and 0.215. The line is drawn about half-way.
"""

_seen: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


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
    seen = _seen.setdefault(model, set())
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

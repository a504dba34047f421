"""One row of the table explained, and how far it is from the definition in float64."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.families.oracle import Probe, in_precision, raw_map
from tests.families.table import Row
from xaimed_core import METHODS, Explanation, explain
from xaimed_core.layout import LayoutLike

CHANNELS = 3
"""As many of AblationCAM's strongest channels are held to brute force, and as many others."""


@dataclass(frozen=True)
class Error:
    """Of the largest value: ``found`` what was found differs from float64, ``plain`` what plain float32 does."""

    found: float
    plain: float


def model_of(row: Row) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _lively(row.build()).eval()


def images_of(row: Row) -> Tensor:
    return torch.randn(row.images, generator=torch.Generator().manual_seed(1))


def explained(
    row: Row, model: nn.Module, *, layer: str | None, layout: LayoutLike, methods: tuple[str, ...]
) -> Explanation:
    images = images_of(row) if row.wrap is None else row.wrap(images_of(row))
    return explain(
        model, images, methods, layer, row.target, layout=layout, output=row.output, progress=False
    )


@functools.cache
def measure(row: Row) -> tuple[Explanation, dict[str, Error]]:
    """The row's explanation by all its methods, and each method's error."""
    model = model_of(row)
    found = explained(row, model, layer=row.layer, layout=row.layout, methods=row.methods)
    exact, plain = (
        Probe(in_precision(model, dtype), images_of(row).to(dtype), row.layer, row.layout, row.target)
        for dtype in (row.exact, torch.float32)
    )
    with torch.compiler.set_stance("force_eager"):
        slopes = {METHODS[method].slope for method in row.methods if METHODS[method].needs_gradient}
        shown, also = (probe.activation_and_slopes(slopes) for probe in (exact, plain))
    errors: dict[str, Error] = {}
    for method in row.methods:
        if method == "ablationcam":
            weights = found.weights[method]
            assert isinstance(weights, Tensor)
            channels = _strongest_and_others(weights)
            with torch.compiler.set_stance("force_eager"):
                drops, rounded = exact.drops(channels), plain.drops(channels)
            errors[method] = Error(_relative(weights[:, channels], drops), _relative(rounded, drops))
        else:
            raw = found.raw[method]
            assert isinstance(raw, Tensor)
            expected = raw_map(method, *shown)
            if (
                method == "fem" and not expected.any()
            ):  # no place above 2 deviations: of few there can be none
                errors[method] = Error(float(raw.abs().max()), 0.0)
                continue
            errors[method] = Error(_relative(raw, expected), _relative(raw_map(method, *also), expected))
    return found, errors


def _relative(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape
    largest = exact.abs().max().item()
    assert largest > 0, "nothing is there, so that nothing is tested"
    error = (found.double() - exact).abs().max().item() / largest
    assert math.isfinite(error)
    return error


def _strongest_and_others(weights: Tensor) -> list[int]:
    order = weights.abs().amax(0).argsort(descending=True).tolist()
    spread = range(CHANNELS, len(order), max(1, (len(order) - CHANNELS) // CHANNELS))
    return [*order[:CHANNELS], *(order[i] for i in spread)]


@torch.no_grad()
def _lively(model: nn.Module) -> nn.Module:
    """Weights as after training: scales that start near 0, and matrices, are of trained size; channels differ."""
    for parameter in model.parameters():
        if parameter.numel() > 1 and parameter.std() <= 1e-6 * parameter.abs().max():
            start = float(parameter.flatten()[0])
            noise = 0.1 * torch.randn_like(parameter)
            parameter.data.copy_(noise + (0.5 if 0 < start < 0.01 else start))
        elif parameter.ndim == 2 and parameter.std() < 0.5 * parameter.shape[1] ** -0.5:
            parameter.data.mul_(parameter.shape[1] ** -0.5 / parameter.std())
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return model

"""What ROAD of some maps costs, beside grad-cam's or checked by float64 alone."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xaimed_bench.measure import of_values
from xaimed_bench.measure.subject import Subject
from xaimed_bench.questions.explaining import FLOAT64
from xaimed_core import explain
from xaimed_core.compat.metrics.road import ROADCombined
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget

BENCH = "scoring maps by road"
"""What cases of this question are called."""
MAPS = "layercam"
"""The method whose maps are scored: ROAD costs the same whichever it is."""
PERCENTILES = [20, 40, 60, 80]  # of grad-cam's tutorial
SCORES_AGREE = 1e-4  # of the largest score


@contextmanager
def scoring(subject: Subject, *, alone: bool = False) -> Generator[dict[str, Any]]:
    """The arguments of `measure`. ``alone``: without grad-cam; scores must then agree with those in float64."""
    model, images, targets = (
        subject.model,
        subject.images,
        [ClassifierOutputTarget(k) for k in subject.classes],
    )
    found = explain(model, images, MAPS, subject.layers, list(subject.classes), layout=subject.layout)
    maps = found.maps[MAPS].cpu().numpy()
    metric = ROADCombined(PERCENTILES, noise=0.0)

    def ours() -> Any:
        return metric(images, maps, targets, model)

    def in_float64() -> Any:
        return metric(images.cpu().double(), maps, targets, copy.deepcopy(model).cpu().double())

    perturbed = record_inputs(model, ours)
    what = f"{sum(map(len, perturbed))} perturbed images; the forward column runs exactly these"
    reference = nullcontext() if alone else their_road(images, maps, targets, subject.apart("road"))
    with reference as theirs:
        yield {
            "ours": ours,
            "against": theirs,
            "truth": in_float64 if alone else None,
            "what": FLOAT64 if alone else "grad-cam ROADCombined, noise 0",
            "forward": partial(run_all, model, perturbed),
            "judge": partial(of_values, name="scores"),
            "allowed": SCORES_AGREE,
            "images": len(images),
            "revision": 2,  # of what "forwards" counts
            "notes": lambda _: [what],
        }


def record_inputs(model: torch.nn.Module, call: Callable[[], Any]) -> list[Tensor]:
    """The batches that a call puts through a model."""
    seen: list[Tensor] = []
    with model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone())):
        call()
    return seen


@torch.no_grad()
def run_all(model: torch.nn.Module, batches: list[Tensor]) -> None:
    """The plain forward pass of each batch."""
    for batch in batches:
        model(batch)


@contextmanager
def their_road(
    images: Tensor, maps: Any, targets: list[Any], model: torch.nn.Module
) -> Generator[Callable[[], Any]]:
    """grad-cam's metric; its noise has no seed and no argument, so that it is taken out of the default."""
    road: Any = importlib.import_module("pytorch_grad_cam.metrics.road")
    made = road.NoisyLinearImputer.__init__
    before, made.__defaults__ = made.__defaults__, (0.0, [])
    try:
        metric = road.ROADCombined(PERCENTILES)
        yield lambda: metric(images, maps, targets, model)
    finally:
        made.__defaults__ = before

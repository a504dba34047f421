"""Localisation beside Quantus' metrics, on the same maps: values must be equal where both define the same.

Quantus is no dependency: `pip install quantus`, or put an unpacked wheel on PYTHONPATH. Without it nothing is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaimed_bench.measure import of_values
from xaimed_core.localisation import LOCALISATION, evaluate_localisation

quantus = pytest.importorskip("quantus", reason="Quantus is not installed")

IMAGES, SIDE = 32, 224
SAME = {
    "PointingGame": "pointing",
    "AttributionLocalisation": "mass",
    "RelevanceMassAccuracy": "mass",
    "RelevanceRankAccuracy": "rank",
    "TopKIntersection": "rank",  # with as many pixels as the lesion has
    "AUC": "auc",
}
EQUAL = 1e-6


@pytest.mark.parametrize("metric", [*SAME, "all"])
def bench_localising_beside_quantus(measure, metric):
    maps, lesions = maps_and_lesions()
    names = list(SAME) if metric == "all" else [metric]
    rivals = [theirs(name, maps, lesions) for name in names]
    asked = (
        tuple(LOCALISATION) if metric == "all" else (SAME[metric],)
    )  # all: every one of xaimed's against six
    measure(
        lambda: values(maps, lesions, asked, names),
        against=lambda: [rival() for rival in rivals],
        what=f"Quantus {quantus.__version__} {metric}",
        judge=partial(of_values, name="values", scale=1.0),
        allowed=EQUAL,
        images=IMAGES,
        notes=lambda _: [f"maps of {SIDE} px; in xaimed {', '.join(dict.fromkeys(SAME[n] for n in names))}"],
    )


def maps_and_lesions() -> tuple[Tensor, Tensor]:
    """Upsampled as CAMs are, without ties, and a box of the same size in each image, at a random place."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(IMAGES, 1, 7, 7, generator=random, dtype=torch.float64)
    maps = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    lesions = torch.zeros(IMAGES, SIDE, SIDE, dtype=torch.bool)
    for lesion in lesions:
        y, x = torch.randint(0, SIDE - 60, (2,), generator=random).tolist()
        lesion[y : y + 40, x : x + 60] = True
    return ((maps - low) / (high - low)).float(), lesions


def values(maps: Tensor, lesions: Tensor, asked: tuple[str, ...], names: list[str]) -> list[Any]:
    found = evaluate_localisation(maps, lesions, metrics=asked, tolerance=0)
    return [found[SAME[name]].numpy() for name in names]


def theirs(name: str, maps: Tensor, lesions: Tensor) -> Callable[[], Any]:
    options = {"k": int(lesions[0].sum())} if name == "TopKIntersection" else {}
    metric = getattr(quantus, name)(disable_warnings=True, **options)
    given = {
        "model": nn.Identity(),
        "x_batch": np.zeros((IMAGES, 3, SIDE, SIDE), np.float32),
        "y_batch": np.zeros(IMAGES, int),
        "a_batch": maps[:, None].numpy(),
        "s_batch": lesions[:, None].numpy(),
        "batch_size": IMAGES,
    }
    return lambda: np.array(metric(**given), float)

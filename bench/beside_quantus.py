"""Localisation beside Quantus' metrics: how far values are apart, and the ratio of times taken in turn, one thread.

Quantus is no dependency: `pip install quantus`, or put an unpacked wheel on PYTHONPATH.
Usage: python bench/beside_quantus.py
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import quantus
import torch
from torch import Tensor, nn

from xaimed_core.localisation import evaluate_localisation

IMAGES, SIDE = 32, 224
TURNS = 7
SAME = {
    "PointingGame": "pointing",
    "AttributionLocalisation": "mass",
    "RelevanceMassAccuracy": "mass",
    "RelevanceRankAccuracy": "rank",
    "TopKIntersection": "rank",  # with as many pixels as the lesion has
    "AUC": "auc",
}


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


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def times_faster(ours: Callable[[], Any], against: Callable[[], Any]) -> float:
    """The median over turns, after one that does not count."""
    turns = [seconds(against) / seconds(ours) for _ in range(TURNS + 1)]
    return statistics.median(turns[1:])


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    maps, lesions = maps_and_lesions()
    rivals = {name: theirs(name, maps, lesions) for name in SAME}
    print("| Quantus | xaimed | largest difference | times faster |\n|---|---|---|---|")
    for name, rival in rivals.items():

        def ours(metric: str = SAME[name]) -> Any:
            return evaluate_localisation(maps, lesions, metrics=metric, tolerance=0)[metric].numpy()

        apart = np.abs(ours() - rival()).max()
        print(f"| {name} | {SAME[name]} | {apart:.1e} | {times_faster(ours, rival):.0f} |")
    every = times_faster(
        lambda: evaluate_localisation(maps, lesions), lambda: [rival() for rival in rivals.values()]
    )
    print(f"| all {len(rivals)} | all | | {every:.0f} |")


if __name__ == "__main__":
    main()

"""How good a trained network is: how often it is right, and whether it knows how often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional

from xaimed_bench.data.sets import Item, Leaking
from xaimed_bench.study.train.images import Outputs

BINS = 15
"""Of the expected calibration error, as in Guo et al. 2017."""


def temperature_of(logits: Tensor, labels: Tensor) -> float:
    """What to divide logits ``[n, classes]`` by, so that their softmax fits the labels best (Guo et al. 2017).

    Between a tenth and ten. 1 where there are no labels, or where all are met: then 0 would fit best, which says only
    that there are too few to learn from.
    """
    from scipy.optimize import minimize_scalar

    if bool((logits.argmax(1) == labels).all()):
        return 1.0
    exact = logits.double()
    found = minimize_scalar(
        lambda log: float(functional.cross_entropy(exact / math.exp(log), labels)),
        bounds=(-math.log(10), math.log(10)),
        method="bounded",
    )
    return math.exp(found.x)


def calibration_error(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """The expected calibration error: between confidence and accuracy, in `BINS` bins of confidence."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    shares = (logits / temperature).softmax(1)
    return float(multiclass_calibration_error(shares, labels, logits.shape[1], n_bins=BINS))


@final
@dataclass(frozen=True)
class Score:
    """Of one choice of images: how many, the share that is right, and means over classes of precision and recall."""

    images: str
    count: int
    accuracy: float
    precision: float
    recall: float
    right: dict[str, str]
    """By class, "right of all"."""


def scores(
    outputs: Outputs, items: Sequence[Item], classes: Sequence[str], leaks: Sequence[Leaking]
) -> list[Score]:
    """On all items, on those that do not leak by their bytes or group, and on those that do not leak in any way.

    A choice that leaves nothing out is not repeated.
    """
    by_looks = {leak.name for leak in leaks}
    by_bytes = {leak.name for leak in leaks if leak.way != "near"}
    found: list[Score] = []
    for said, out in (
        ("all test images", frozenset[str]()),
        ("without those with the bytes, or of the lesion, of one in training", by_bytes),
        ("without those that look like one in training, too", by_looks),
    ):
        logits, labels = outputs.of([row for row, item in enumerate(items) if item.name not in out])
        if len(labels) and (not found or len(labels) < found[-1].count):
            found.append(_score(said, logits.argmax(1), labels, classes))
    return found


def _score(said: str, chosen: Tensor, labels: Tensor, classes: Sequence[str]) -> Score:
    from torchmetrics.functional.classification import multiclass_precision, multiclass_recall

    right = {
        name: f"{int((chosen[labels == k] == k).sum())} of {int((labels == k).sum())}"
        for k, name in enumerate(classes)
    }
    return Score(
        said,
        len(labels),
        float((chosen == labels).double().mean()),
        float(multiclass_precision(chosen, labels, len(classes), average="macro")),
        float(multiclass_recall(chosen, labels, len(classes), average="macro")),
        right,
    )


@final
@dataclass(frozen=True)
class Judgement:
    """``temperature`` from validation; ``calibration``: the error before and after on validation and testing."""

    temperature: float
    calibration: dict[str, dict[str, float]]
    scores: list[Score]


def judge(
    validation: Outputs,
    testing: Outputs,
    items: Sequence[Item],
    classes: Sequence[str],
    leaks: Sequence[Leaking],
) -> Judgement:
    """``items``: those of testing."""
    sets = {
        "validation": validation.of(range(len(validation.labels))),
        "testing": testing.of(range(len(items))),
    }
    temperature = temperature_of(*sets["validation"])
    calibration = {
        name: {
            "before": calibration_error(logits, labels, 1.0),
            "after": calibration_error(logits, labels, temperature),
        }
        for name, (logits, labels) in sets.items()
        if len(labels)
    }
    return Judgement(temperature, calibration, scores(testing, items, classes, leaks))

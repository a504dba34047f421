"""What a faithfulness metric is: a value that one engine runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

from torch import Tensor

from xaimed_core.faithfulness.masks import Order
from xaimed_core.faithfulness.removal import Blur, Impute, Removal, Zero

ScoreName = Literal["logit", "softmax", "sigmoid", "probability"]

ScoreLike = ScoreName | Callable[[Tensor], Tensor]
"""What targets read: the outputs as they are (for "probability" they must be in [0, 1]), through softmax or sigmoid, or
a function of them that keeps their shape."""


@final
@dataclass(frozen=True)
class Remove:
    """Pixels go in the map's order, a fraction at a time."""

    orders: tuple[Order, ...]
    removal: Removal
    removed: tuple[float, ...]


@final
@dataclass(frozen=True)
class Multiply:
    """The whole image is multiplied with its map, which must be in [0, 1]."""


Perturbation = Remove | Multiply

Summary = Literal["change", "difference", "area", "drop", "increase"]
"""How a curve becomes one number per image, from the score ``y`` before and ``y_f`` after (f: fraction removed).

``change``: mean of y_f - y. ``difference``: mean of (lerf y_f - morf y_f) / 2. ``area``: the area under y_f over
f in [0, 1] by the trapezoidal rule, divided by the span of f. ``drop``: max(0, y - y_f). ``increase``: 1 where
y_f > y, else 0."""


@final
@dataclass(frozen=True)
class Metric:
    """A faithfulness metric: how images are perturbed, what is read off, and what its sign means.

    ``reading`` says in words what a value means; it stands beside every number. ``higher_is_better`` orders rows.
    """

    name: str
    title: str
    paper: str
    perturbation: Perturbation
    summary: Summary
    score: ScoreName
    reading: str
    higher_is_better: bool

    def __post_init__(self) -> None:
        """Raise ValueError for orders and fractions that the summary cannot be made of."""
        how = self.perturbation
        orders, fractions = (how.orders, how.removed) if isinstance(how, Remove) else ((), ())
        if self.summary == "difference" and {*orders} != {"lerf", "morf"}:
            raise ValueError(f'{self.name}: a "difference" needs the orders lerf and morf, got {orders}')
        if self.summary == "area" and (len(fractions) < 2 or [*fractions] != sorted({*fractions})):
            raise ValueError(
                f'{self.name}: an "area" needs two fractions or more, ascending, got {fractions}'
            )

    def __str__(self) -> str:
        return self.name


TUTORIAL = (0.2, 0.4, 0.6, 0.8)
"""Of grad-cam's metrics tutorial, which the studies that compare CAM methods follow."""

STEPS = tuple(k / 20 for k in range(21))

_ROAD = "Rong et al. 2022, arXiv 2202.00449"
_RISE = "Petsiuk et al. 2018, arXiv 1806.07421"
_GRADCAM_PP = "Chattopadhay et al. 2018, arXiv 1710.11063"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="road",
            title="ROAD, combined",
            paper=_ROAD,
            perturbation=Remove(("lerf", "morf"), Impute(), TUTORIAL),
            summary="difference",
            score="softmax",
            reading="positive: removing what the map calls relevant cost more than removing what it calls irrelevant",
            higher_is_better=True,
        ),
        Metric(
            name="road-morf",
            title="ROAD, most relevant first",
            paper=_ROAD,
            perturbation=Remove(("morf",), Impute(), TUTORIAL),
            summary="change",
            score="softmax",
            reading="negative: the removed pixels mattered",
            higher_is_better=False,
        ),
        Metric(
            name="road-lerf",
            title="ROAD, least relevant first",
            paper=_ROAD,
            perturbation=Remove(("lerf",), Impute(), TUTORIAL),
            summary="change",
            score="softmax",
            reading="near 0 or positive: the removed pixels did not matter; negative: they did",
            higher_is_better=True,
        ),
        Metric(
            name="deletion",
            title="Deletion",
            paper=_RISE,
            perturbation=Remove(("morf",), Zero(), STEPS),
            summary="area",
            score="softmax",
            reading="small: the score falls as soon as the most relevant pixels go",
            higher_is_better=False,
        ),
        Metric(
            name="insertion",
            title="Insertion",
            paper=_RISE,
            perturbation=Remove(("lerf",), Blur(), STEPS),
            summary="area",
            score="softmax",
            reading="large: few of the most relevant pixels, put back into a blurred image, restore the score",
            higher_is_better=True,
        ),
        Metric(
            name="drop",
            title="Drop in confidence",
            paper=_GRADCAM_PP,
            perturbation=Multiply(),
            summary="drop",
            score="softmax",
            reading="0: the image seen through its map scores as high as the whole; positive: the map hides evidence",
            higher_is_better=False,
        ),
        Metric(
            name="increase",
            title="Increase in confidence",
            paper=_GRADCAM_PP,
            perturbation=Multiply(),
            summary="increase",
            score="softmax",
            reading="1: the image seen through its map scores higher than the whole; 0: it does not",
            higher_is_better=True,
        ),
    )
}
"""Every faithfulness metric by name. To add one: name its order, its removal operator, its score and its sign here."""


def metric_of(name: str | Metric) -> Metric:
    """The metric of that name. Raises ValueError that lists the names."""
    if isinstance(name, Metric):
        return name
    if not isinstance(name, str) or name not in METRICS:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"no metric {name!r}; the metrics are {', '.join(METRICS)}")
    return METRICS[name]

"""`road` and `evaluate`: one baseline forward, then the perturbed images in full batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never, final

import torch
from torch import Tensor, nn

from xaimed_core.faithfulness.masks import Order, Ties, check_fractions, masks_of
from xaimed_core.faithfulness.metric import METRICS, TUTORIAL, Metric, Multiply, Remove, ScoreLike, metric_of
from xaimed_core.faithfulness.removal import Impute, Removal, remove
from xaimed_core.faithfulness.scoring import outputs_of, scores_of, scoring
from xaimed_core.targets import Targets, TargetsLike, any_beyond, resolve_targets

NoiseSpace = Literal["input", "pixels"]
"""The unit of the noise: what the model reads (as grad-cam), or pixels in [0, 1] (as ROAD's authors)."""

ROWS = 32
"""Perturbed images per forward, if the caller's own batch is smaller: a GPU gains up to there."""


@final
@dataclass(frozen=True)
class Faithfulness:
    """How faithful maps are, one number per image, and the curves it comes from.

    ``score [n]``, read as ``metric.reading`` says. ``before [n]``: the unperturbed images' scores. ``curve [n, o, f]``:
    the scores after removal, for the orders and fractions of the metric. ``removed [n, o, f]``: the fraction
    really removed (all zeros for `Multiply`, which removes none). ``targets``: whose scores these are.
    """

    metric: Metric
    score: Tensor
    before: Tensor
    curve: Tensor
    removed: Tensor
    targets: Targets

    def __repr__(self) -> str:
        better = "higher" if self.metric.higher_is_better else "lower"
        return (
            f"{self.metric.title}: {float(self.score.mean()):+.4f} on average over {len(self.score)} images "
            f"({self.metric.reading}; {better} is better)"
        )


def road(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    *,
    targets: TargetsLike | Targets = None,
    removed: Sequence[float] = TUTORIAL,
    order: Literal["combined", "morf", "lerf"] = "combined",
    ties: Ties = "rank",
    noise: float = 0.01,
    noise_space: NoiseSpace = "input",
    std: Sequence[float] | None = None,
    seed: int = 0,
    score: ScoreLike = "softmax",
    batch: int | None = None,
) -> Faithfulness:
    """ROAD of ``maps [n, h, w]`` for ``images [n, c, h, w]`` (Rong et al. 2022, arXiv 2202.00449).

    Removed pixels are imputed from their neighbours, so that a classifier sees no mask. ``removed``: fractions of
    the pixels. ``order``: "morf" is the mean change of the score when the most relevant pixels go (negative: they
    mattered), "lerf" when the least relevant go, "combined" is (lerf - morf) / 2 (positive is good).
    ``ties``: "rank" removes the exact count, "threshold" what grad-cam removes. ``noise``: standard deviation, in the
    model's input or, with ``noise_space="pixels"``, in pixels in [0, 1] that were divided by ``std`` (one per
    channel). ``score``: how outputs are read before ``targets`` pick from them. ``batch``: perturbed images per
    forward. The rest as `evaluate`. Raises as `evaluate`, and ValueError for an unknown order.
    """
    names = {"combined": "road", "morf": "road-morf", "lerf": "road-lerf"}
    if order not in names:
        raise ValueError(f"unknown order {order!r}; choose from {', '.join(names)}")
    spread = noise_in(noise, noise_space, std, images)
    metric = with_removal(METRICS[names[order]], Impute(spread), removed)
    return evaluate(
        metric, model, images, maps, targets=targets, ties=ties, seed=seed, score=score, batch=batch
    )


@torch.no_grad()
def evaluate(
    metric: str | Metric,
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    *,
    targets: TargetsLike | Targets = None,
    ties: Ties = "rank",
    seed: int = 0,
    score: ScoreLike | None = None,
    batch: int | None = None,
    before: Tensor | None = None,
) -> Faithfulness:
    """A faithfulness metric of ``maps [n, h, w]`` (higher: more relevant) for ``images [n, c, h, w]``.

    ``targets``: as in `explain`, None for the top class of each image, or what an `Explanation` holds. ``score`` None
    takes the metric's own. ``before``: the outputs ``[n, ...]`` for the unperturbed images, where they are known (an
    `Explanation` has them as ``logits``), else one forward finds them. ``batch``: perturbed images per forward, None
    for the size of ``images`` or 32 if that is more. Runs under the caller's autocast; the model's mode and
    random numbers are left as they were. Same seed, same noise and ties, whatever the batch.

    Raises ValueError or TypeError that say what was wrong, IndexError for a class that does not exist.
    """
    chosen = metric_of(metric)
    reading = chosen.score if score is None else score
    _check(images, maps, batch)
    with scoring(model, images.device):
        outputs = outputs_of(model, images) if before is None else _known(before, images)
        picked = targets if isinstance(targets, Targets) else resolve_targets(targets, outputs)
        if any_beyond(picked):
            raise IndexError(
                f"a target is out of range: the model has the classes 0 to {outputs.shape[1] - 1}"
            )
        rows = torch.arange(len(images), device=outputs.device)
        base = scores_of(outputs, picked, rows, reading)
        match chosen.perturbation:
            case Remove() as how:
                masks = masks_of(maps, how.removed, how.orders, ties=ties, seed=seed)
                size = batch or max(len(images), ROWS)
                curve = _curve(model, images, masks.keep, how.removal, picked, reading, seed, size)
                removed = masks.removed
            case Multiply():
                seen = images * _fraction_maps(maps).unsqueeze(1).to(images.dtype)
                curve = scores_of(outputs_of(model, seen), picked, rows, reading).view(-1, 1, 1)
                removed = torch.zeros_like(curve)
            case _:
                assert_never(chosen.perturbation)
    return Faithfulness(chosen, summarise(chosen, base, curve), base, curve, removed, picked)


def _curve(
    model: nn.Module,
    images: Tensor,
    keep: Tensor,
    removal: Removal,
    targets: Targets,
    score: ScoreLike,
    seed: int,
    batch: int,
) -> Tensor:
    """Scores ``[n, o, f]`` of the images with what ``keep [n, o, f, h, w]`` lacks removed, ``batch`` at a time."""
    each = keep.shape[1] * keep.shape[2]
    masks = keep.flatten(0, 2)
    found: list[Tensor] = []
    for start in range(0, len(masks), batch):
        here = masks[start : start + batch]
        rows = torch.arange(start, start + len(here), device=images.device)
        owner = rows // each
        seeds = [seed * 1_000_003 + row for row in range(start, start + len(here))]
        perturbed = remove(images[owner], here, removal, seeds)
        outputs = outputs_of(model, perturbed)
        found.append(scores_of(outputs, targets, owner.to(outputs.device), score))
    return torch.cat(found).view(keep.shape[:3])


def summarise(metric: Metric, before: Tensor, curve: Tensor) -> Tensor:
    """One number per image ``[n]`` from scores before ``[n]`` and after ``[n, o, f]`` removal; see `Summary`."""
    match metric.summary:
        case "change":
            return (curve - before[:, None, None]).mean((1, 2))
        case "difference":
            at = dict(zip(_orders(metric), curve.unbind(1), strict=True))
            return (at["lerf"] - at["morf"]).mean(1) / 2
        case "area":
            f = torch.tensor(_fractions(metric), dtype=curve.dtype, device=curve.device)
            return torch.trapezoid(curve, f, dim=2).mean(1) / (f[-1] - f[0])
        case "drop":
            return (before - curve[:, 0, 0]).clamp_min(0)
        case "increase":
            return (curve[:, 0, 0] > before).to(curve.dtype)
        case _:
            assert_never(metric.summary)


def with_removal(metric: Metric, removal: Removal, removed: Sequence[float]) -> Metric:
    """The metric with another removal operator and other fractions."""
    how = metric.perturbation
    if not isinstance(how, Remove):
        raise ValueError(f"{metric.name} multiplies images with maps and removes no fractions of them")
    check_fractions(removed)
    return replace(metric, perturbation=replace(how, removal=removal, removed=tuple(removed)))


def noise_in(
    noise: float, space: NoiseSpace, std: Sequence[float] | None, images: Tensor
) -> float | tuple[float, ...]:
    """The noise's standard deviation in the images' units, per channel where these differ."""
    match space:
        case "input":
            return noise
        case "pixels":
            if std is None or len(std) != images.shape[1]:
                raise ValueError(
                    f'noise_space="pixels" needs std, the {images.shape[1]} numbers that channels were divided by, '
                    "e.g. xaimed_core.data.IMAGENET.std"
                )
            return tuple(noise / s for s in std)
        case _:
            raise ValueError(f"unknown noise_space {space!r}; choose input or pixels")


def _orders(metric: Metric) -> tuple[Order, ...]:
    return metric.perturbation.orders if isinstance(metric.perturbation, Remove) else ()


def _fractions(metric: Metric) -> tuple[float, ...]:
    return metric.perturbation.removed if isinstance(metric.perturbation, Remove) else ()


def _fraction_maps(maps: Tensor) -> Tensor:
    if not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError(
            "an image is seen through its map, so maps must be finite and in [0, 1], as explain gives them"
        )
    return maps


def _known(before: Tensor, images: Tensor) -> Tensor:
    if len(before) != len(images):
        raise ValueError(f"before has {len(before)} rows for {len(images)} images; give the outputs of each")
    return before


def _check(images: Tensor, maps: Tensor, batch: int | None) -> None:
    if images.ndim != 4 or 0 in images.shape or not images.is_floating_point():
        raise ValueError(
            f"images must be real numbers [n, c, h, w] with nothing empty, got {images.dtype} {tuple(images.shape)}"
        )
    if maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"maps must be {[len(images), *images.shape[2:]]}, one per image and of its size, got "
            f"{list(maps.shape)}; resize them with torch.nn.functional.interpolate"
        )
    if maps.device != images.device:
        raise ValueError(f"images are on {images.device}, maps on {maps.device}; move one")
    if batch is not None and batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")

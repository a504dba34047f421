"""`road` and `evaluate`: one baseline forward, then the perturbed images, each forward the caller's whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never, final

import torch
from torch import Tensor, nn

from xaimed_core.classes import class_names_of
from xaimed_core.explanation import Explained, Maps, one_of
from xaimed_core.faithfulness.door import check_options, fitting_images, fitting_maps, fraction_maps
from xaimed_core.faithfulness.masks import Order, Ties, check_fractions, masks_of
from xaimed_core.faithfulness.metric import METRICS, TUTORIAL, Metric, Multiply, Remove, ScoreLike, metric_of
from xaimed_core.faithfulness.removal import Impute, Removal, check_noise, remove
from xaimed_core.faithfulness.scoring import scoring, warn_of_probabilities
from xaimed_core.faithfulness.unperturbed import (
    Unperturbed,
    merged,
    reasons_of,
    unperturbed,
    without_reason,
)
from xaimed_core.forward import unwrap
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.numbers_given import is_real
from xaimed_core.outputs import OutputChoice, outputs_of
from xaimed_core.progress import Progress
from xaimed_core.rows import outputs_of_each
from xaimed_core.targets import Targets, TargetsLike

AHEAD_BYTES = 2**25
"""Perturbed images may wait so large for their forward: filling many at once takes half the time of four."""

NoiseSpace = Literal["input", "pixels"]
"""The unit of the noise: what the model reads (as grad-cam), or pixels in [0, 1] (as ROAD's authors)."""

MapsLike = Tensor | Explained | Maps
"""Maps ``[n, h, w]`` (arrays, too), or an `Explanation` or its `Maps`, which know whom they explain."""


@final
@dataclass(frozen=True)
class Faithfulness:
    """How faithful maps are, one number per image, and the curves it comes from.

    ``score [n]``, read as ``metric.reading`` says. ``before [n]``: the unperturbed images' scores. ``curve [n, o, f]``:
    the scores after removal, for the orders and fractions of the metric. ``removed [n, o, f]``: the fraction
    really removed (all zeros for `Multiply`, which removes none). ``targets``: whose scores these are, in words
    ``scored_for``. ``reasons [n]``: "", or why an image has no score (its numbers are NaN, the others' untouched).
    """

    metric: Metric
    score: Tensor
    before: Tensor
    curve: Tensor
    removed: Tensor
    targets: Targets
    scored_for: str
    reasons: tuple[str, ...]

    def __repr__(self) -> str:
        better = "higher" if self.metric.higher_is_better else "lower"
        scored = self.reasons.count("")
        failed = next((f"; {len(self.score) - scored} without a score ({r})" for r in self.reasons if r), "")
        return (
            f"{self.metric.title}: {float(self.score.nanmean()):+.4f} on average over {scored} images "
            f"({self.metric.reading}; {better} is better), scored for {self.scored_for}{failed}"
        )


def road(
    model: nn.Module,
    images: Tensor,
    maps: MapsLike,
    *,
    method: str | None = None,
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
    before: Tensor | None = None,
    output: OutputChoice = None,
    progress: bool = True,
) -> Faithfulness:
    """ROAD of ``maps [n, h, w]`` for ``images [n, c, h, w]`` (Rong et al. 2022, arXiv 2202.00449).

    Removed pixels are imputed from their neighbours, so that a classifier sees no mask. ``removed``: fractions of
    the pixels. ``order``: "morf" is the mean change of the score when the most relevant pixels go (negative: they
    mattered), "lerf" when the least relevant go, "combined" is (lerf - morf) / 2 (positive is good).
    ``ties``: "rank" removes the exact count, "threshold" what grad-cam removes. ``noise``: standard deviation, in the
    model's input or, with ``noise_space="pixels"``, in pixels in [0, 1] that were divided by ``std`` (one per
    channel). ``score``: how outputs are read before ``targets`` pick from them. The rest as `evaluate`. Raises as
    `evaluate`, and ValueError for an unknown order.
    """
    names = {"combined": "road", "morf": "road-morf", "lerf": "road-lerf"}
    if order not in tuple(names):
        raise ValueError(f"unknown order {order!r}; choose from {', '.join(names)}")
    spread = noise_in(noise, noise_space, std, fitting_images(images))
    metric = with_removal(METRICS[names[order]], Impute(spread), removed)
    return evaluate(
        metric,
        model,
        images,
        maps,
        method=method,
        targets=targets,
        ties=ties,
        seed=seed,
        score=score,
        batch=batch,
        before=before,
        output=output,
        progress=progress,
    )


@self_contained
@torch.no_grad()
def evaluate(
    metric: str | Metric,
    model: nn.Module,
    images: Tensor,
    maps: MapsLike,
    *,
    method: str | None = None,
    targets: TargetsLike | Targets = None,
    ties: Ties = "rank",
    seed: int = 0,
    score: ScoreLike | None = None,
    batch: int | None = None,
    before: Tensor | None = None,
    output: OutputChoice = None,
    progress: bool = True,
) -> Faithfulness:
    """A faithfulness metric of ``maps [n, h, w]`` (higher: more relevant) for ``images [n, c, h, w]``.

    ``maps``: an `Explanation` (``method`` says which of its maps, where there are several), whose targets are scored,
    or a plain tensor. ``targets``: as in `explain`; None for those of the explanation, or each image's top class.
    ``score`` None takes the metric's own. ``before``: the outputs ``[n, ...]`` for the unperturbed images, where they
    are known (an `Explanation` has them as ``logits``), else one forward finds them. ``output``: as in `explain`.
    ``batch``: perturbed images per forward, if the model's rows prove independent; None takes the fastest count, as
    measured, or the images as they were given. ``progress=False`` says nothing of a long wait. Runs
    under the caller's autocast; the model's mode is left as it was, and random generators move on only where the model
    itself draws from them. Same seed, same noise and ties, whatever the batch. An image or map with NaN has no score
    and a reason; the others are scored.

    Raises ValueError or TypeError that say what was wrong, IndexError for a class that does not exist.
    """
    chosen = metric_of(metric)
    images = fitting_images(images)
    map_, asked = one_of(maps, method, images.device)
    map_ = fitting_maps(map_, images)
    check_options(batch, seed, ties)
    reading = chosen.score if score is None else score
    classes = class_names_of(unwrap(model)[0])
    with scoring(model) as running:
        base = unperturbed(
            running,
            images,
            asked,
            targets,
            perturbations(chosen),
            classes=classes,
            score=reading,
            output=output,
            batch=batch,
            before=before,
            owner=model,
        )
        warn_of_probabilities(model, base.outputs, reading)
        with Progress(chosen.name, perturbations(chosen), show=progress) as step:
            return measured(chosen, base, map_, ties, seed, step)


def perturbations(metric: Metric) -> int:
    """How often the metric perturbs each image."""
    return len(_orders(metric)) * len(_fractions(metric)) or 1


def measured(
    metric: Metric, base: Unperturbed, maps: Tensor, ties: Ties, seed: int, step: Callable[[int], Any]
) -> Faithfulness:
    """The metric of ``maps [n, h, w]``; ``step(1)`` after each perturbation. Inside of `scoring`."""
    bad = ~maps.isfinite().flatten(1).all(1)
    reasons = merged(base.reasons, reasons_of(bad, "its map holds NaN or infinity, which cannot be ranked"))
    maps = maps.masked_fill(bad.view(-1, 1, 1), 0.0)
    match metric.perturbation:
        case Remove() as how:
            masks = masks_of(maps, how.removed, how.orders, ties=ties, seed=seed)
            curve = _curve(base, masks.keep, how.removal, seed, step)
            removed = masks.removed
        case Multiply():
            seen = base.images * fraction_maps(maps).unsqueeze(1).to(base.images.dtype)
            curve = base.scores_of(outputs_of(base.model, seen, base.output)).view(-1, 1, 1)
            removed = torch.zeros_like(curve)
            step(1)
        case _:
            assert_never(metric.perturbation)
    lost = ~curve.isfinite().flatten(1).all(1)
    reasons = merged(reasons, reasons_of(lost, "the model's score of a perturbed image is NaN or infinite"))
    score = without_reason(summarise(metric, base.scores, curve), reasons)
    before, curve = without_reason(base.scores, reasons), without_reason(curve, reasons)
    return Faithfulness(metric, score, before, curve, removed, base.targets, base.scored_for, reasons)


def _curve(
    base: Unperturbed, keep: Tensor, removal: Removal, seed: int, step: Callable[[int], Any]
) -> Tensor:
    """Scores ``[n, o, f]`` of the images with what ``keep [n, o, f, h, w]`` lacks removed."""
    masks = keep.flatten(1, 2)
    n, each = masks.shape[:2]
    ahead = AHEAD_BYTES // (base.images.numel() * base.images.element_size())
    made, images = range(0), base.images

    def perturbed(here: range) -> Tensor:
        nonlocal made, images
        if not made.start <= here.start < here.stop <= made.stop:
            made = range(here.start, min(each, max(here.stop, here.start + ahead)))
            seeds = [seed * 1_000_003 + i * each + k for k in made for i in range(n)]
            kept = masks[:, made.start : made.stop].transpose(0, 1).flatten(0, 1)
            images = remove(base.images, kept, removal, seeds)
        return images[(here.start - made.start) * n : (here.stop - made.start) * n]

    found: list[Tensor] = []
    for outputs in outputs_of_each(base.model, perturbed, each, n, base.rows, base.output):
        found.append(base.scores_of(outputs))
        step(1)
    return torch.stack(found, 1).view(keep.shape[:3])


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
    removed = check_fractions(removed)
    return replace(metric, perturbation=replace(how, removal=removal, removed=removed))


def noise_in(
    noise: float, space: NoiseSpace, std: Sequence[float] | None, images: Tensor
) -> float | tuple[float, ...]:
    """The noise's standard deviation in the images' units, per channel where these differ."""
    match space:
        case "input":
            return noise
        case "pixels":
            check_noise(noise)
            listed = std.tolist() if isinstance(std, Tensor) else std
            given = [s for s in listed if is_real(s) and s > 0] if isinstance(listed, Sequence) else []
            if len(given) != images.shape[1]:
                raise ValueError(
                    f'noise_space="pixels" needs std, the {images.shape[1]} numbers above 0 that channels were divided '
                    f"by, e.g. (0.229, 0.224, 0.225); got {std!r}"
                )
            return tuple(noise / float(s) for s in given)
        case _:
            raise ValueError(f"unknown noise_space {space!r}; choose input or pixels")


def _orders(metric: Metric) -> tuple[Order, ...]:
    return metric.perturbation.orders if isinstance(metric.perturbation, Remove) else ()


def _fractions(metric: Metric) -> tuple[float, ...]:
    return metric.perturbation.removed if isinstance(metric.perturbation, Remove) else ()

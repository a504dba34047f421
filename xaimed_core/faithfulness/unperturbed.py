"""The images as they are: whose scores are asked for, what they are before removal, and which images have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never, final

import torch
from torch import Tensor, nn

from xaimed_core.explanation import Asked
from xaimed_core.faithfulness.metric import ScoreLike
from xaimed_core.faithfulness.scoring import scores_of
from xaimed_core.outputs import OutputChoice, outputs_of, plain
from xaimed_core.rows import rows_per_forward
from xaimed_core.targets import (
    ClassTargets,
    ContrastTargets,
    FunctionTargets,
    Targets,
    TargetsLike,
    any_beyond,
    are_several,
    resolve_targets,
)


@final
@dataclass(frozen=True)
class Unperturbed:
    """What every perturbation is compared with.

    ``model``: as it runs; ``images [n, c, h, w]``, 0 where one is not finite; ``outputs [n, ...]``; ``scores [n]``.
    ``rows``: the most images per forward. ``reasons``: why an image has no score, "" where it has one.
    """

    model: nn.Module
    images: Tensor
    outputs: Tensor
    scores: Tensor
    targets: Targets
    scored_for: str
    score: ScoreLike
    output: OutputChoice
    rows: int
    reasons: tuple[str, ...]

    def scores_of(self, outputs: Tensor) -> Tensor:
        """Float32 scores ``[n]`` of the outputs for perturbed images. Raises ValueError for a ``before`` of others."""
        known = self.outputs
        if (outputs.shape, outputs.device) != (known.shape, known.device):
            raise ValueError(
                f"before is {tuple(known.shape)} on {known.device}, and the model gives {tuple(outputs.shape)} on "
                f"{outputs.device}; leave before out, or give the model's own outputs"
            )
        return scores_of(outputs, self.targets, torch.arange(len(outputs), device=outputs.device), self.score)


def unperturbed(
    model: nn.Module,
    images: Tensor,
    asked: Asked,
    targets: TargetsLike | Targets,
    perturbations: int,
    *,
    classes: Sequence[str] | None,
    score: ScoreLike,
    output: OutputChoice = None,
    batch: int | None = None,
    before: Tensor | None = None,
    owner: nn.Module | None = None,
) -> Unperturbed:
    """Run the images once, unless ``before`` holds their outputs, and settle whose scores are meant.

    ``perturbations``: how many of each image are to come. ``owner``: as in `rows_per_forward`.

    Raises as `evaluate`.
    """
    choice = asked.output if output is None else output
    bad = ~images.isfinite().flatten(1).all(1)
    clean = images.masked_fill(bad.view(-1, 1, 1, 1), 0.0) if bool(bad.any()) else images
    outputs = outputs_of(model, clean, choice) if before is None else _known(before, images)
    picked, scored_for = _whose(asked, targets, outputs, classes)
    rows = torch.arange(len(images), device=outputs.device)
    scores = scores_of(outputs, picked, rows, score)
    reasons = merged(
        reasons_of(bad, "the image holds NaN or infinity"),
        reasons_of(~scores.isfinite(), "the model's score of the image is NaN or infinite"),
    )
    return Unperturbed(
        model=model,
        images=clean,
        outputs=outputs,
        scores=without_reason(scores, reasons),
        targets=picked,
        scored_for=scored_for,
        score=score,
        output=choice,
        rows=rows_per_forward(model, clean, outputs, perturbations, batch, choice, owner=owner),
        reasons=reasons,
    )


def reasons_of(bad: Tensor, reason: str) -> tuple[str, ...]:
    """The reason for each image for which ``bad [n]``, else ""."""
    return tuple(reason if one else "" for one in bad.tolist())


def merged(*reasons: Sequence[str]) -> tuple[str, ...]:
    """The first reason of each image. Raises ValueError where every image has one."""
    first = tuple(next(filter(None, of_image), "") for of_image in zip(*reasons, strict=True))
    if all(first):
        raise ValueError(f"no image can be scored; image 0: {first[0]}")
    return first


def without_reason(values: Tensor, reasons: Sequence[str]) -> Tensor:
    """``values [n, ...]`` with NaN for the images that have a reason."""
    bad = torch.tensor([bool(reason) for reason in reasons], device=values.device)
    return values.masked_fill(bad.view(-1, *[1] * (values.ndim - 1)), torch.nan)


def _known(before: Any, images: Tensor) -> Tensor:
    if not isinstance(before, Tensor) or not before.is_floating_point() or before.ndim == 0:
        kind = (
            f"{before.dtype} {tuple(before.shape)}" if isinstance(before, Tensor) else type(before).__name__
        )
        raise TypeError(f"before must be the model's outputs, a tensor [n, ...] of real numbers, got {kind}")
    if len(before) != len(images):
        raise ValueError(f"before has {len(before)} rows for {len(images)} images; give the outputs of each")
    return plain(before)


def _whose(
    asked: Asked, targets: TargetsLike | Targets, outputs: Tensor, classes: Sequence[str] | None
) -> tuple[Targets, str]:
    if are_several(targets):
        raise ValueError(
            "a score is for one class of each image; score the maps of one class at a time: e.of(0)"
        )
    if targets is not None:
        picked, words = resolve_targets(targets, outputs, classes), "the given targets"
        if asked.targets is not None and not _same(asked.targets, picked):
            words += ", which are not those that the maps explain"
    elif asked.targets is not None:
        picked, words = resolve_targets(asked.targets, outputs), "the targets that the maps explain"
    else:
        picked = resolve_targets(None, outputs)
        words = "each image's top class, since the maps do not say whom they explain"
    if any_beyond(picked):
        raise IndexError(f"a target is out of range: the model has the classes 0 to {outputs.shape[1] - 1}")
    return picked, words


def _same(one: Targets, other: Any) -> bool:
    match one:
        case ClassTargets(index=index):
            return isinstance(other, ClassTargets) and index.tolist() == other.index.tolist()
        case FunctionTargets():
            return one == other
        case ContrastTargets():
            return (
                isinstance(other, ContrastTargets)
                and _same(one.chosen, other.chosen)
                and _same(one.against, other.against)
            )
        case _:
            assert_never(one)

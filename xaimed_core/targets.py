"""What a score is: which number of the model's output a map explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

ScoreFunction = Callable[[Tensor], Tensor]
"""One image's output row to its score, as grad-cam's targets: ``[classes] -> []``."""

TargetsLike = None | int | Tensor | ScoreFunction | Sequence[int | ScoreFunction]
"""What a caller may pass as ``targets``: nothing (the top class), classes, or score functions."""


@final
@dataclass(frozen=True)
class ClassTargets:
    """The logit of one class per image. ``index``: int64 ``[n]`` on the output's device.

    ``beyond``: for classes that came as a tensor on a CUDA device, a bool ``[]`` there that tells whether any does not
    exist (``index`` then holds the nearest that does, for CUDA would abort): looking at once would wait for the device.
    """

    index: Tensor
    beyond: Tensor | None = None

    def score(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Scores ``[r]`` of output rows ``[r, classes]`` that belong to the images ``rows [r]``."""
        return logits.gather(1, self.index[rows].unsqueeze(1)).squeeze(1)


@final
@dataclass(frozen=True)
class FunctionTargets:
    """A score function per image; any callable on one output row, so no closed form exists."""

    functions: tuple[ScoreFunction, ...]

    def score(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Scores ``[r]`` of output rows ``[r, ...]`` that belong to the images ``rows [r]``."""
        return torch.stack(
            [_scalar(self.functions[i](row)) for i, row in zip(rows.tolist(), logits, strict=True)]
        )


@final
@dataclass(frozen=True)
class ContrastTargets:
    """The logit of one class less that of another, per image: why this and not that. 0 where both are the same."""

    chosen: ClassTargets
    against: ClassTargets

    def score(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Scores ``[r]`` of output rows ``[r, classes]`` that belong to the images ``rows [r]``."""
        return self.chosen.score(logits, rows) - self.against.score(logits, rows)


Targets = ClassTargets | FunctionTargets | ContrastTargets


def _scalar(score: Tensor) -> Tensor:
    if score.numel() != 1:
        raise ValueError(
            f"a target must give one number per image, got shape {tuple(score.shape)}; reduce it, e.g. with .sum()"
        )
    return score.reshape(())


def logits_of(output: Any) -> Tensor:
    """The tensor ``[n, ...]`` that targets read in a model's output.

    A tensor is itself; an object with ``.logits`` (Hugging Face), a mapping with "logits" or "out", and
    the first element of a tuple or list are looked into. Raises TypeError for anything else.
    """
    match output:
        case Tensor():
            return output
        case _ if isinstance(getattr(output, "logits", None), Tensor):
            return output.logits
        case Mapping():
            for key in ("logits", "out"):
                if isinstance(output.get(key), Tensor):
                    return output[key]
        case tuple() | list() if len(output) > 0:
            return logits_of(output[0])
        case _:
            pass
    raise TypeError(
        f"the model returned {type(output).__name__}, in which no logits were found; wrap the model so that it "
        "returns a tensor [n, classes], an object with .logits, or a dict with 'logits'"
    )


OutputChoice = None | int | str | Callable[[Any], Tensor]


def scores_in(output: Any, n: int, choice: OutputChoice = None) -> tuple[Tensor, str]:
    found = logits_of(output)
    if found.ndim == 0 or len(found) != n:
        raise ValueError(f"the model gave {tuple(found.shape)} for {n} images; its first axis must be the batch")
    return found, ""


def asks_for_several(targets: Any) -> bool:
    return False


def split_targets(targets: TargetsLike, logits: Tensor, classes: Any = None) -> tuple[Any, ...]:
    return (resolve_targets(targets, logits),)


def resolve_targets(targets: TargetsLike, logits: Tensor) -> Targets:
    """Turn what the caller gave into `Targets` for ``logits [n, classes]``.

    None means each image's top class. A score function given alone serves every image.
    Raises ValueError for a wrong number of targets, TypeError for a wrong kind, and IndexError for a class
    out of range (for a tensor on a CUDA device, see `ClassTargets.beyond`).
    """
    n = len(logits)
    if targets is None:
        _need_classes(logits)
        return ClassTargets(logits.detach().argmax(1))
    if isinstance(targets, Tensor):
        if targets.is_floating_point() or targets.dtype == torch.bool:
            raise TypeError(f"targets must be whole class numbers, got a {targets.dtype} tensor")
        if targets.numel() not in (1, n):
            raise ValueError(f"{targets.numel()} targets for {n} images; give one per image, or one for all")
        _need_classes(logits)
        index = targets.reshape(-1).to(device=logits.device, dtype=torch.int64).expand(n)
        if targets.device.type == "cpu":
            _check_range(index.tolist(), logits.shape[1])
            return ClassTargets(index)
        inside = index.clamp(0, logits.shape[1] - 1)
        return ClassTargets(inside, beyond=(inside != index).any())
    if isinstance(targets, int):
        return resolve_targets([targets] * n, logits)
    if callable(targets):
        return FunctionTargets((targets,) * n)
    given = list(targets)
    if len(given) != n:
        raise ValueError(f"{len(given)} targets for {n} images; give one per image, or one alone for all")
    if all(callable(t) for t in given):
        return FunctionTargets(tuple(t for t in given if callable(t)))
    try:
        classes = [int(t) for t in given if not callable(t)]
    except (TypeError, ValueError):
        classes = []
    if len(classes) != n:
        raise TypeError(
            "targets must be None, class numbers, or callables on one output row; "
            f"got {sorted({type(t).__name__ for t in given})}"
        )
    _need_classes(logits)
    _check_range(classes, logits.shape[1])
    return ClassTargets(torch.tensor(classes, dtype=torch.int64, device=logits.device))


def contrast(targets: Targets, against: TargetsLike, logits: Tensor, classes: Any = None) -> ContrastTargets:
    """``targets`` explained against other classes: a class, or one per image.

    Raises TypeError where either is not a class.
    """
    other = resolve_targets(against, logits)
    if not isinstance(targets, ClassTargets) or not isinstance(other, ClassTargets):
        raise TypeError(
            "against contrasts classes; for other scores give a target that takes the difference itself"
        )
    return ContrastTargets(targets, other)


def any_beyond(targets: Targets) -> bool:
    """Whether a class turned out not to exist (see `ClassTargets.beyond`; waits for the device where one is)."""
    match targets:
        case ClassTargets(beyond=beyond):
            return beyond is not None and bool(beyond)
        case ContrastTargets(chosen=chosen, against=against):
            return any_beyond(chosen) or any_beyond(against)
        case FunctionTargets():
            return False


def _need_classes(logits: Tensor) -> None:
    if logits.ndim != 2:
        raise ValueError(
            f"class targets need an output [n, classes], got {tuple(logits.shape)}; "
            "pass a callable that turns one image's output into its score"
        )


def _check_range(classes: Sequence[int], count: int) -> None:
    wrong = sorted({c for c in classes if not 0 <= c < count})
    if wrong:
        raise IndexError(f"target {wrong} is out of range: the model has the classes 0 to {count - 1}")

"""What a score is: which number of the model's output a map explains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, SupportsIndex, cast, final

import torch
from torch import Tensor

from xaimed_core.classes import check_range, class_number
from xaimed_core.outputs import plain

ScoreFunction = Callable[[Tensor], Tensor]
"""One image's output row to its score, as grad-cam's targets: ``[classes] -> []``."""

ClassLike = SupportsIndex | str
"""A class by its number (numpy's and torch's whole numbers, too) or by its name."""

TargetsLike = (
    None
    | ClassLike
    | Tensor
    | ScoreFunction
    | Sequence[ClassLike | ScoreFunction]
    | Sequence[Sequence[ClassLike]]
)
"""What a caller may pass as ``targets``: nothing (the top class), classes, or score functions; "all" and lists of
classes per image for several maps of each (see `split_targets`)."""

ALL = "all"
"""Every class of each image."""


@final
@dataclass(frozen=True)
class ClassTargets:
    """The logit of one class per image. ``index``: int64 ``[n]`` on the output's device.

    ``beyond``: for classes that came as a tensor on a CUDA device, a bool ``[]`` there that tells whether any does not
    exist (``index`` then holds the nearest that does, for CUDA would abort): looking at once would wait for the device.
    """

    index: Tensor
    beyond: Tensor | None = None

    def score(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores ``[r]`` of output rows ``[r, classes]`` that belong to the images ``rows [r]``, or one to each."""
        index = self.index if rows is None else self.index[rows]
        return logits.gather(1, index.unsqueeze(1)).squeeze(1)


@final
@dataclass(frozen=True)
class FunctionTargets:
    """A score function per image; any callable on one output row, so no closed form exists."""

    functions: tuple[ScoreFunction, ...]

    def score(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores ``[r]`` of output rows ``[r, ...]`` that belong to the images ``rows [r]``, or one to each."""
        images: Sequence[int] = range(len(logits)) if rows is None else rows.tolist()
        return torch.stack([_scalar(self.functions[i](row)) for i, row in zip(images, logits, strict=True)])


@final
@dataclass(frozen=True)
class ContrastTargets:
    """The logit of one class less that of another, per image: why this and not that. 0 where both are the same."""

    chosen: ClassTargets
    against: ClassTargets

    def score(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores ``[r]`` of output rows ``[r, classes]`` that belong to the images ``rows [r]``, or one to each."""
        return self.chosen.score(logits, rows) - self.against.score(logits, rows)


Targets = ClassTargets | FunctionTargets | ContrastTargets


def _scalar(score: Tensor) -> Tensor:
    if not isinstance(score, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a target must give a tensor with one number, got {type(score).__name__}")
    if score.is_complex():
        raise TypeError(f"a target must give a real number, got {score.dtype}; take .abs() or .real")
    if score.numel() != 1:
        raise ValueError(
            f"a target must give one number per image, got shape {tuple(score.shape)}; reduce it, e.g. with .sum()"
        )
    return score.reshape(())


def resolve_targets(
    targets: TargetsLike | Targets, logits: Tensor, classes: Sequence[str] | None = None
) -> Targets:
    """Turn what the caller gave into `Targets` for ``logits [n, classes]``; ``classes``: their names, where known.

    None means each image's top class. A class or a score function given alone serves every image. `Targets` of the
    same images are taken as they are.
    Raises ValueError for a wrong number of targets and unknown names, TypeError for a wrong kind, and IndexError for a
    class out of range (for a tensor on a CUDA device, see `ClassTargets.beyond`).
    """
    n = len(logits)
    match targets:
        case None:
            _need_classes(logits)
            return ClassTargets(logits.detach().argmax(1))
        case ClassTargets():
            return _again(targets, logits)
        case ContrastTargets(chosen=chosen, against=against):
            return ContrastTargets(_again(chosen, logits), _again(against, logits))
        case FunctionTargets(functions=functions):
            _check_count(len(functions), n)
            return targets
        case Tensor():
            return _of_tensor(targets, logits, n)
        case _ if callable(targets):
            _refuse_type(targets)
            return FunctionTargets((targets,) * n)
        case _:
            return _of_list(_listed(targets, n), logits, classes)


def split_targets(
    targets: TargetsLike | Targets, logits: Tensor, classes: Sequence[str] | None = None
) -> tuple[Targets, ...]:
    """`resolve_targets` for several classes of each image: the j-th `Targets` hold the j-th class of every image.

    "all" means every class of ``logits [n, k]``; ``[[0, 2], [1, 3]]`` (also a tensor or array ``[n, k]``) the first
    image's classes 0 and 2, the second's 1 and 3. Anything else is one request, and gives one `Targets`.
    Raises as `resolve_targets`, and ValueError for lists of unequal length.
    """
    if isinstance(targets, str) and targets == ALL:
        if classes and ALL in classes:
            raise ValueError(
                'a class of this model is named "all"; give its number, or list(range(k)) for each image to have all'
            )
        _need_classes(logits)
        return tuple(resolve_targets(j, logits) for j in range(logits.shape[1]))
    if not are_several(targets):
        return (resolve_targets(targets, logits, classes),)
    if isinstance(targets, Tensor):
        _check_count(len(targets), len(logits))
        resolved = tuple(resolve_targets(column, logits) for column in targets.unbind(1))
        _refuse_repeated(targets.tolist())
        return resolved
    rows = [list(_plain(row)) if _is_row(row) else [row] for row in _plain(targets)]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"every image needs equally many classes, at least one, got {[len(row) for row in rows]}; "
            "explain images with other numbers of classes apart"
        )
    _check_count(len(rows), len(logits))
    _refuse_repeated(rows)
    return tuple(resolve_targets(list(column), logits, classes) for column in zip(*rows, strict=True))


def are_several(targets: object) -> bool:
    """Whether these targets ask for several classes of each image, so that a map of each is wanted."""
    if isinstance(targets, str):
        return targets == ALL
    if isinstance(targets, Tensor):
        return targets.ndim == 2
    listed = _plain(targets)
    return isinstance(listed, list | tuple) and any(_is_row(row) for row in cast("Sequence[Any]", listed))


def any_beyond(targets: Targets) -> bool:
    """Whether a class turned out not to exist (see `ClassTargets.beyond`; waits for the device where one is)."""
    match targets:
        case ClassTargets(beyond=beyond):
            return beyond is not None and bool(beyond)
        case ContrastTargets(chosen=chosen, against=against):
            return any_beyond(chosen) or any_beyond(against)
        case FunctionTargets():
            return False


def repeat_targets(targets: Targets, count: int) -> Targets:
    """The targets of ``[count n, ...]`` rows, all images behind each other ``count`` times."""
    match targets:
        case ClassTargets(index=index, beyond=beyond):
            return ClassTargets(index.repeat(count), beyond)
        case FunctionTargets(functions=functions):
            return FunctionTargets(functions * count)
        case ContrastTargets(chosen=chosen, against=against):
            a, b = (ClassTargets(of.index.repeat(count), of.beyond) for of in (chosen, against))
            return ContrastTargets(a, b)


def _again(targets: ClassTargets, logits: Tensor) -> ClassTargets:
    again = _of_tensor(targets.index, logits, len(logits))
    found = [beyond for beyond in (targets.beyond, again.beyond) if beyond is not None]
    return ClassTargets(again.index, beyond=torch.stack(found).any() if found else None)


def _of_tensor(targets: Tensor, logits: Tensor, n: int) -> ClassTargets:
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise TypeError(f"targets must be whole class numbers, got a {targets.dtype} tensor")
    if targets.ndim > 1 and targets.shape != (n, 1):
        raise ValueError(f"targets must be [n], one class per image, got {tuple(targets.shape)}")
    if targets.numel() not in (1, n):
        _check_count(targets.numel(), n)
    _need_classes(logits)
    index = plain(targets.detach()).reshape(-1).to(device=logits.device, dtype=torch.int64).expand(n)
    if targets.device.type == "cpu":
        check_range(index.tolist(), logits.shape[1])
        return ClassTargets(index)
    inside = index.clamp(0, logits.shape[1] - 1)
    return ClassTargets(inside, beyond=(inside != index).any())


def _listed(targets: Any, n: int) -> list[Any]:
    """One entry per image."""
    given = _plain(targets)
    if isinstance(given, Set | Mapping):
        raise TypeError(f"targets must be in the images' order, got a {type(targets).__name__}; give a list")
    if isinstance(given, str) or not isinstance(given, Iterable):
        return [given] * n
    listed = list(cast("Iterable[Any]", given))
    _check_count(len(listed), n)
    return listed


def _of_list(given: Sequence[Any], logits: Tensor, classes: Sequence[str] | None) -> Targets:
    functions: list[ScoreFunction] = [t for t in cast("Sequence[ScoreFunction]", given) if callable(t)]
    if functions and len(functions) < len(given):
        raise TypeError("targets must be all classes or all callables; write the classes as callables, too")
    if functions:
        for function in functions:
            _refuse_type(function)
        return FunctionTargets(tuple(functions))
    _need_classes(logits)
    numbers = [class_number(t, classes, logits.shape[1]) for t in given]
    check_range(numbers, logits.shape[1])
    return ClassTargets(torch.tensor(numbers, dtype=torch.int64, device=logits.device))


def _plain(targets: Any) -> Any:
    """Arrays (numpy, pandas) as lists of Python's own numbers."""
    return targets.tolist() if hasattr(targets, "tolist") and not isinstance(targets, Tensor) else targets


def _is_row(target: object) -> bool:
    if isinstance(target, Tensor):
        return target.ndim > 0 and target.numel() != 1
    return isinstance(_plain(target), list | tuple)


def _refuse_type(target: object) -> None:
    if isinstance(target, type):
        raise TypeError(f"a target is the class {target.__name__}; give an instance, {target.__name__}(...)")


def _refuse_repeated(rows: Sequence[Sequence[Any]]) -> None:
    """One-hot rows would be read as the classes 0 and 1, again and again."""
    repeated = next((row for row in rows if any(row.count(each) > 1 for each in row)), None)
    if repeated is not None:
        raise ValueError(
            f"{repeated!r:.60} names a class of one image twice; give each once, and of one-hot rows the numbers: "
            "targets.argmax(1)"
        )


def _check_count(given: int, n: int) -> None:
    if given != n:
        raise ValueError(
            f"{given} targets for {n} images; give one per image, or one alone for all "
            "([[0, 2]] are two classes of one image)"
        )


def _need_classes(logits: Tensor) -> None:
    if logits.ndim != 2:
        raise ValueError(
            f"class targets need an output [n, classes], got {tuple(logits.shape)}; "
            "pass a callable that turns one image's output into its score"
        )
    if logits.shape[1] == 0:
        raise ValueError(f"the model gave scores of no class: {tuple(logits.shape)}")

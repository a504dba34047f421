"""What a class is called: whole numbers, and names where the model has them."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from operator import index
from typing import Any, cast

from torch import nn

_NAMED_BY = ("classes", "class_names", "categories", "pathologies")


def class_names_of(model: nn.Module) -> tuple[str, ...] | None:
    """The class names that a model carries, or None: ``config.id2label``, ``classes``, ``class_names``,
    ``categories`` or ``pathologies`` (torchxrayvision), a list of strings or a mapping from numbers to them."""
    holders = [(getattr(model, "config", None), "id2label"), *((model, name) for name in _NAMED_BY)]
    for holder, name in holders:
        found: Any = getattr(holder, name, None)
        if isinstance(found, Mapping):
            by_number = {str(key): label for key, label in cast("Mapping[Any, Any]", found).items()}
            found = [by_number.get(str(k)) for k in range(len(by_number))]
        if isinstance(found, list | tuple) and found and all(isinstance(label, str) for label in found):
            return tuple(cast("Sequence[str]", found))
    return None


def check_names(classes: Any) -> None:
    """Raise TypeError unless these are None or names in the order of the scores."""
    listed = cast("Sequence[Any]", classes if isinstance(classes, list | tuple) else [])
    if classes is not None and (not listed or not all(isinstance(name, str) for name in listed)):
        raise TypeError(
            f"classes must be a list of names in the order of the model's scores, got {type(classes).__name__}"
        )


def class_number(target: Any, classes: Sequence[str] | None, count: int) -> int:
    """The number of a class of ``count``, given as a whole number or, where ``classes`` are known, by name."""
    if isinstance(target, str):
        return _number_of(target, classes, count)
    return whole_number(target)


def whole_number(target: Any) -> int:
    """The number where `operator.index` finds one, so numpy's and torch's, too; TypeError for floats and bools."""
    dtype = str(getattr(target, "dtype", ""))
    if not isinstance(target, bool) and "bool" not in dtype:
        with contextlib.suppress(TypeError):
            return index(target)
    raise TypeError(
        f"targets must be None, whole class numbers, class names or callables on one output row; got {target!r:.60}"
    )


def _number_of(name: str, classes: Sequence[str] | None, count: int) -> int:
    if classes is None:
        raise TypeError(f"{name!r} is no class number, and this model names no classes; give class numbers")
    if len(classes) != count:
        raise ValueError(
            f"the model names {len(classes)} classes and gives {count} scores; give class numbers"
        )
    at = [k for k, known in enumerate(classes) if known == name]
    if len(at) == 1:
        return at[0]
    if at:
        raise ValueError(
            f"{name!r} is the name of the classes {at}; give the number of the one that is meant"
        )
    close = difflib.get_close_matches(name, classes, n=3, cutoff=0.5) or list(classes[:5])
    raise ValueError(f"no class is named {name!r}; did you mean {', '.join(map(repr, close))}?")


def check_range(classes: Sequence[int], count: int) -> None:
    """Raise IndexError unless these are classes of ``count``."""
    wrong = sorted({c for c in classes if not 0 <= c < count})
    if wrong:
        raise IndexError(f"target {wrong} is out of range: the model has the classes 0 to {count - 1}")

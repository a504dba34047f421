"""Operations on values: what a tape and a program are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from xaimed_core.tail.record.aten import name_of


@final
@dataclass(frozen=True)
class Value:
    """Stands for a tensor in a call's arguments."""

    index: int


ACTIVATION = Value(0)


@final
@dataclass(frozen=True)
class Call:
    """One operation. ``results``: the values of its outputs in order, None for what is not a tensor.

    ``dtype``: what an in-place operation casts its result to.
    """

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int | None, ...]
    dtype: torch.dtype | None

    @property
    def name(self) -> str:
        """The operation's bare name."""
        return name_of(self.op)

    @cached_property
    def reads(self) -> tuple[int, ...]:
        """The values among its arguments."""
        found = leaves((self.args, tuple(self.kwargs.values())))
        return tuple(leaf.index for leaf in found if isinstance(leaf, Value))


@final
@dataclass(frozen=True)
class Tape:
    """A recorded tail, sliced to what the logits need: shapes and dtypes of all values, external tensors by value."""

    calls: tuple[Call, ...]
    shapes: dict[int, tuple[int, ...]]
    dtypes: dict[int, torch.dtype]
    external: dict[int, Tensor]
    logits: int


COMPARED = frozenset(
    (bool, int, str, torch.device, torch.dtype, torch.layout, torch.memory_format, torch.qscheme, Value)
)
"""Operands whose ``==`` says whether they are the same."""


def alike(a: Any, b: Any) -> bool:
    """Whether two operands, or nests of them, are the same; what cannot be compared is not, unless it is one object."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float | complex | np.generic):
        return repr(a) == repr(b)  # which knows NaN from numbers, and -0.0 from 0.0
    if isinstance(a, torch.ScriptObject):
        return hash(a) == hash(b)  # of the object itself: torch wraps it anew for every call
    return type(a) in COMPARED and a == b


def leaves(tree: Any) -> Iterator[Any]:
    """What stands in nested tuples and lists."""
    if isinstance(tree, tuple | list):
        for branch in tree:
            yield from leaves(branch)
    else:
        yield tree


def nested(tree: Any, change: Any) -> Any:
    """The same nest with ``change(leaf)`` in place of every leaf."""
    if isinstance(tree, tuple):
        return tuple(nested(branch, change) for branch in tree)
    if isinstance(tree, list):
        return [nested(branch, change) for branch in tree]
    return change(tree)

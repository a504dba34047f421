"""What an instruction on registers alone is: types in, a type out, and a function between them."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import final

from xaimed_kernels.emulator.ptx_types import Array, Type


@final
@dataclass(frozen=True)
class Arithmetic:
    """An opcode: the types of its sources and its result, and the function from values to values."""

    sources: tuple[Type, ...]
    result: Type
    compute: Callable[..., Array]


ROUNDED: Container[tuple[str, ...]] = {(), ("rn",)}
"""Modifiers that change nothing: rounding to the nearest is what all do."""


def same(
    function: Callable[..., Array], sources: int, allowed: Container[tuple[str, ...]] = ROUNDED
) -> Callable[..., Arithmetic]:
    """An instruction whose sources and result have one type."""

    def build(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
        if modifiers not in allowed:
            raise KeyError(modifiers)
        return Arithmetic((kind,) * sources, kind, function)

    return build

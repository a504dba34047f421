"""An axis of a tensor as the parts of the images' axes that it holds, and what reshaping does to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import final


@final
@dataclass(frozen=True)
class Part:
    """``count`` steps of ``stride`` along an axis of ``of`` places; channels and the batch are no places.

    source: the images' axis, counted from the first behind the channels; the places among tokens that have none;
    "mixed" for several at once; None for no place. shift: by how much the axis was rolled.
    """

    source: int | Joined | str | None
    count: int
    stride: int = 1
    of: int = 0
    shift: int = 0

    @property
    def covers(self) -> bool:
        """Whether these steps lead once along the whole axis."""
        return self.count * self.stride == self.of and not self.shift


@final
@dataclass(frozen=True)
class Joined:
    """An axis between ``before`` and ``after`` tokens that are no places, as a class token is."""

    before: int
    axis: Axis
    after: int


Axis = tuple[Part, ...]
"""Outermost first; an axis of one place has no parts."""


def channels(size: int) -> Axis:
    """An axis without places."""
    return (Part(None, size),) if size > 1 else ()


def whole(source: int | Joined, size: int) -> Axis:
    """All of an axis in its order."""
    return (Part(source, size, 1, size),) if size > 1 else ()


def mixed(size: int) -> Axis:
    """Places of which no order is known."""
    return (Part("mixed", size),) if size > 1 else ()


def length(axis: Axis) -> int:
    """How many numbers lie along it."""
    return prod(part.count for part in axis)


def has_places(axis: Axis) -> bool:
    """Whether it holds anything but channels."""
    return any(part.source is not None for part in axis)


def reshaped(axes: Iterable[Axis], sizes: Sequence[int]) -> tuple[Axis, ...] | None:
    """The axes after a reshape to ``sizes``; None where a part would be cut unevenly."""
    waiting = list(_merged([part for axis in axes for part in axis]))
    found: list[Axis] = []
    for size in sizes:
        axis, needed = list[Part](), size
        while needed > 1:
            if not waiting:
                return None
            part = waiting.pop(0)
            if needed % part.count:
                if part.count % needed:
                    return None
                inner = part.count // needed
                waiting.insert(0, replace(part, count=inner))
                part = replace(part, count=needed, stride=part.stride * inner if part.of else 1)
            axis.append(part)
            needed //= part.count
        found.append(_merged(axis))
    return None if waiting else tuple(found)


def _merged(parts: Iterable[Part]) -> Axis:
    """Neighbours that were cut apart, as one again."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if last is not None and last.source == part.source and (
            not part.of
            or ((last.of, last.shift) == (part.of, part.shift) and last.stride == part.count * part.stride)
        ):  # fmt: skip
            found[-1] = replace(part, count=last.count * part.count)
        else:
            found.append(part)
    return tuple(found)


def resized(axis: Axis, size: int) -> Axis:
    """After what makes more or fewer places of an axis in their order, as a convolution or a pooling does."""
    if length(axis) == size:
        return axis
    if not has_places(axis):
        return channels(size)
    (part, *others) = axis
    if others or not part.covers or not isinstance(part.source, int):
        return mixed(size)
    return whole(part.source, size)


def sliced(axis: Axis, start: int, size: int) -> Axis:
    """``size`` places from ``start`` on."""
    joined = axis[0].source if len(axis) == 1 and axis[0].covers else None
    if length(axis) == size or not isinstance(joined, Joined):
        return resized(axis, size)
    before, after = joined.before - start, start + size - joined.before - length(joined.axis)
    if before >= 0 and after >= 0:
        return between(before, joined.axis, after)
    apart = start + size <= joined.before or start >= joined.before + length(joined.axis)
    return channels(size) if apart else mixed(size)


def between(before: int, axis: Axis, after: int) -> Axis:
    """Places with others around them that are none."""
    if len(axis) == 1 and isinstance(joined := axis[0].source, Joined) and axis[0].covers:
        before, axis, after = before + joined.before, joined.axis, after + joined.after
    if not before and not after:
        return axis
    return whole(Joined(before, axis, after), before + length(axis) + after)


def together(found: Sequence[Axis], size: int) -> Axis:
    """What an axis holds after an operation that meets tensors place by place: a shortcut's places, where in order."""
    held = {axis for axis in found if length(axis) == size and has_places(axis)}
    for wanted in (_in_order, _known):
        if len(best := [axis for axis in held if wanted(axis)]) == 1:
            return best[0]
    return mixed(size) if held else channels(size)


def _in_order(axis: Axis) -> bool:
    return all(part.covers for part in axis) and len({part.source for part in axis}) == len(axis)


def _known(axis: Axis) -> bool:
    return all(part.source != "mixed" for part in axis)

"""How a layer's output lies, from what each of its axes holds."""

from __future__ import annotations

from collections.abc import Sequence

from xaimed_core.layout import ChannelsFirst, ChannelsLast, Layout, Tokens
from xaimed_core.origin.axes import Axis, Joined, has_places


def layout_by_origin(axes: Sequence[Axis], places: int) -> Layout | None:
    """The layout of a layer's output for images of so many axes of places; None where none reads it.

    The first axes of places may be folded into the batch, as the frames of a video are.
    """
    if len(axes) < 3:
        return None
    folded = next((k for k in range(places) if _grid(axes[0], range(k)) is not None), None)
    if folded is None:
        return None
    wanted = range(folded, places)
    if len(axes) == 2 + len(wanted):
        if all(_grid(axis, [k]) for axis, k in zip(axes[2:], wanted, strict=True)):
            return ChannelsFirst()
        if all(_grid(axis, [k]) for axis, k in zip(axes[1:-1], wanted, strict=True)):
            return ChannelsLast()
    if len(axes) == 3 and len(wanted) > 1:
        before, axis, after = 0, axes[1], 0
        if len(axis) == 1 and isinstance(joined := axis[0].source, Joined) and axis[0].covers:
            before, axis, after = joined.before, joined.axis, joined.after
        grid = _grid(axis, wanted)
        if grid is not None and not after:
            return Tokens(grid, before)
    return None


def _grid(axis: Axis, wanted: Sequence[int]) -> tuple[int, ...] | None:
    """How many places lie along each of the images' axes; None where others do, or not row by row."""
    parts = [part for part in axis if part.source is not None or wanted]
    sizes: list[int] = []
    for source in wanted:
        here = parts[0] if parts and parts[0].source == source and parts[0].covers else None
        sizes.append(here.count if here else 1)
        parts = parts[1:] if here else parts
    return None if parts else tuple(sizes)


def why_unreadable(axes: Sequence[Axis]) -> str:
    """What is in the way of a layout, where `layout_by_origin` finds none."""
    if has_places(axes[0]):
        return "holds windows of the image in its batch axis"
    if not any(map(has_places, axes)):
        return "holds no axis of the image (tokens of the network's own, heads, or what was pooled)"
    if any(not part.covers for axis in axes for part in axis if part.source is not None):
        return "holds the places of the image in windows or blocks, or in another order than row by row"
    return "holds the axes of the image in another order or number (transposed, attention between places, heads apart)"

"""Follows what autograd kept from a tensor back to the images, and so learns what each axis holds."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor

from xaimed_core.origin.axes import channels, has_places, length, whole
from xaimed_core.origin.rules import Axes, Size, rule


@final
class Trace:
    """Of one forward of ``images [n, c, *places]``, a leaf that autograd followed."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.known: dict[tuple[Any, int], Axes | None] = {}

    def axes_of(self, node: Any, output: int) -> Axes | None:
        """What each axis holds of the tensor that is this output of an operation; None where it is not known."""
        waiting = [(node, output)]
        while waiting:
            key = waiting[-1]
            sources = (
                []
                if key[0] is None
                else [source for source in key[0].next_functions if source[0] is not None]
            )
            missing = [source for source in sources if source not in self.known]
            if key not in self.known and missing:
                waiting.extend(missing)
                continue
            waiting.pop()
            if key not in self.known:
                self.known[key] = self._made(*key)
        return self.known[node, output]

    def _made(self, node: Any, output: int) -> Axes | None:
        if node is None:
            return None
        size: Size = tuple(node._input_metadata[output].shape)
        if (leaf := getattr(node, "variable", None)) is not None:
            first = channels(size[0]), channels(size[1]) if len(size) > 1 else ()
            is_images = leaf is self.images
            return (*first, *(whole(i, s) for i, s in enumerate(size[2:]))) if is_images else _constant(size)
        given = [None if source[0] is None else self.known[source] for source in node.next_functions]
        if any(
            axes is None and source[0] is not None
            for axes, source in zip(given, node.next_functions, strict=True)
        ):
            known = [axes for axes in given if axes is not None and any(map(has_places, axes))]
            if not known:  # what was lost may hold places
                return None
        if all(axes is None or not any(map(has_places, axes)) for axes in given):
            return _constant(size)
        name = type(node).__name__.partition("Backward")[0]
        try:
            found = rule(name)(node, output, given, size)
        except (AttributeError, IndexError, TypeError):  # another torch keeps something else
            return None
        return found if found is None or tuple(map(length, found)) == size else None


def _constant(size: Size) -> Axes:
    return tuple(map(channels, size))

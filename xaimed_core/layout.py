"""How a layer's output holds its channels and positions, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, final

from torch import Tensor


@final
@dataclass(frozen=True)
class ChannelsFirst:
    """``n c *spatial``, as convolutional networks give it."""

    channel_dim = 1

    def to_maps(self, output: Tensor) -> Tensor:
        """``n c *spatial``, a view."""
        return _with_places(self, output)

    def from_maps(self, maps: Tensor, output: Tensor) -> Tensor:
        """The layer's own layout again."""
        return maps.reshape(output.shape)


@final
@dataclass(frozen=True)
class ChannelsLast:
    """``n *spatial c``, as Swin transformers give it."""

    channel_dim = -1

    def to_maps(self, output: Tensor) -> Tensor:
        """``n *spatial c`` to ``n c *spatial``, a view."""
        return _with_places(self, output).movedim(-1, 1)

    def from_maps(self, maps: Tensor, output: Tensor) -> Tensor:
        """``n c *spatial`` to ``n *spatial c``."""
        return maps.movedim(1, -1).reshape(output.shape)


@final
@dataclass(frozen=True)
class Tokens:
    """``n tokens c``: ``prefix`` tokens without a place (class, register), then the grid row by row."""

    grid: tuple[int, ...]
    prefix: int = 0
    channel_dim = -1

    def __post_init__(self) -> None:
        """Raise ValueError for what is no grid."""
        sides = self.grid if isinstance(self.grid, tuple) else (None,)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not all(isinstance(side, int) and side > 0 for side in sides) or not sides or self.prefix < 0:
            raise ValueError(
                f"a grid is the number of tokens along each axis, e.g. Tokens((14, 14), prefix=1), got {self!r}"
            )

    def to_maps(self, output: Tensor) -> Tensor:
        """``n tokens c`` to ``n c *grid``, a view without the prefix tokens."""
        if output.ndim != 3 or output.shape[1] != self.prefix + prod(self.grid):
            raise ValueError(
                f"{self} describes {self.prefix} + {prod(self.grid)} tokens [n, tokens, channels], "
                f"the layer gave {tuple(output.shape)}"
            )
        return output[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)

    def from_maps(self, maps: Tensor, output: Tensor) -> Tensor:
        """``n c *grid`` put back among the prefix tokens of ``output``, a copy."""
        tokens = output.clone()
        tokens[:, self.prefix :] = maps.flatten(2).transpose(1, 2)
        return tokens


Layout = ChannelsFirst | ChannelsLast | Tokens
LayoutLike = Layout | Literal["infer"] | None


@final
class LayoutError(ValueError):
    """A layer's output that cannot be read without being told how."""


def check_layout(layout: Any) -> None:
    """Raise TypeError for what says nothing of axes."""
    if layout is None or layout == "infer" or (hasattr(layout, "to_maps") and not isinstance(layout, type)):
        return
    raise TypeError(
        'layout must be None, "infer", Tokens(grid, prefix), ChannelsLast() or ChannelsFirst(), '
        f"got {layout!r}"
    )


def _with_places(layout: Layout, output: Tensor) -> Tensor:
    if output.ndim < 3:
        raise LayoutError(f"{layout} needs positions beside channels, the layer gave {tuple(output.shape)}")
    return output


AxisOrder = Literal["first", "last"] | None
"""Where a layer's neighbours in the network say that its channels are; None where they say nothing."""


@final
@dataclass(frozen=True)
class Told:
    """What a network's own operations say of how a layer's output lies.

    order: where its channels are. layout: how it lies, traced back to the images; None where it could not be traced.
    unreadable: why no layout reads it, "" where one may.
    """

    order: AxisOrder = None
    layout: Layout | None = None
    unreadable: str = ""


PREFIXES = range(9)
"""A class token, a distillation token, up to eight registers."""


def choose_layout(
    layout: LayoutLike,
    shape: Sequence[int],
    image_size: Sequence[int],
    told: Callable[[], Told] = Told,
    *,
    ask: bool = True,
) -> Layout:
    """The layout of a layer's output of this shape, for images of this size.

    None accepts only what is ``n c *spatial`` beyond doubt and names the alternative otherwise, for read in
    the wrong order the axes would give a map of nonsense. "infer" takes that alternative. ``told`` decides where it
    can; with ``ask=False`` it is asked only where shapes leave a doubt. Raises `LayoutError` where no layout reads what
    the axes hold, or where it is not known and both readings fit, naming both.
    """
    if layout is not None and layout != "infer":
        return layout
    known = told() if ask or layout == "infer" else Told()
    if known.unreadable:
        raise LayoutError(
            f"the layer's output {tuple(shape)} {known.unreadable}; choose a layer around it whose places lie as in "
            "the image, or say how they lie with layout="
        )
    found = known.layout or _by_shape(shape, image_size, told)
    if isinstance(found, ChannelsFirst) or (layout == "infer" and found is not None):
        return found
    hint = f'pass layout="infer" (it would be {found})' if found else "pass a layer that keeps positions"
    raise LayoutError(
        f"the layer's output {tuple(shape)} is not [n, channels, *positions] of images {tuple(image_size)}; "
        f"{hint}, or one of layout=Tokens(grid, prefix), ChannelsLast(), ChannelsFirst()"
    )


def _by_shape(shape: Sequence[int], image_size: Sequence[int], told: Callable[[], Told]) -> Layout | None:
    def order() -> AxisOrder:
        return told().order

    return _spatial(shape, image_size, order) or _tokens(shape, image_size, order)


def _spatial(
    shape: Sequence[int], image_size: Sequence[int], order: Callable[[], AxisOrder]
) -> ChannelsFirst | ChannelsLast | None:
    if len(shape) != 2 + len(image_size):
        return None
    first, last = (_fit(positions, image_size) for positions in (shape[2:], shape[1:-1]))
    by_shape: AxisOrder = None if first == last else "first" if first > last else "last"
    if first == last == 0:
        return None
    said = by_shape
    if min(first, last) > 0 and (by_shape is None or len({*image_size}) > 1):
        said = order() or by_shape
    if (
        said == "last" and last < 2 and len({*image_size}) == 1
    ):  # places in windows, say, not in rows and columns
        return None
    if said is None or (by_shape is not None and said != by_shape):
        raise LayoutError(
            f"the layer's output {tuple(shape)} can be read in two ways: [n, channels, *positions] with positions "
            f"{tuple(shape[2:])}, or [n, *positions, channels] with {tuple(shape[1:-1])}, of images "
            f"{tuple(image_size)}; say which with layout=ChannelsFirst() or layout=ChannelsLast()"
        )
    return ChannelsFirst() if said == "first" else ChannelsLast()


def _fit(positions: Sequence[int], image_size: Sequence[int]) -> int:
    """2: one stride could have led from the image to these positions; 1: a stride per axis could; 0: none."""
    if min(positions) < 1:
        return 0
    if _same_aspect(positions, image_size):
        return 2
    return int(all(p <= size + 2 for p, size in zip(positions, image_size, strict=True)))


def _same_aspect(positions: Sequence[int], image_size: Sequence[int]) -> bool:
    """Whether one stride could have led from the image to these positions, a pixel of padding allowed."""
    strides_from = [size / (p + 1) for p, size in zip(positions, image_size, strict=True)]
    strides_to = [size / max(p - 1, 0.5) for p, size in zip(positions, image_size, strict=True)]
    return max(strides_from) <= min(strides_to)


def _tokens(shape: Sequence[int], image_size: Sequence[int], order: Callable[[], AxisOrder]) -> Tokens | None:
    """``n tokens c`` of images of two axes, where the number of tokens says how they lie."""
    if len(shape) != 3 or len(image_size) != 2:
        return None
    found = _grids(shape[1], image_size)
    if not found:
        return None
    if _grids(shape[2], image_size) and order() == "first":
        raise LayoutError(
            f"the layer's output {tuple(shape)} can be read as {shape[1]} tokens of {shape[2]} channels or the other "
            f"way round; if tokens come first, pass layout={found[0]}"
        )
    if len(found) > 1:
        raise LayoutError(
            f"{shape[1]} tokens can lie in several ways: {', '.join(map(str, found))}; pass the right one as layout="
        )
    return found[0]


def _grids(tokens: int, image_size: Sequence[int]) -> list[Tokens]:
    """The ways in which so many tokens can cover an image, those of several and of whole patches where there are."""
    height, width = image_size
    found = [(Tokens(grid, p), grid) for p in PREFIXES if (grid := _grid(tokens - p, height, width))]
    found = [one for one in found if prod(one[1]) > 1] or found
    whole = [layout for layout, (rows, columns) in found if height % rows == width % columns == 0]
    return whole or [layout for layout, _ in found]


def _grid(tokens: int, height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns of the image's own aspect that make exactly so many tokens."""
    rows = round((max(tokens, 0) * height / width) ** 0.5)
    if rows > 0 and tokens % rows == 0 and rows * width == (tokens // rows) * height:
        return rows, tokens // rows
    return None

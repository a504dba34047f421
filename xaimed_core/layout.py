"""How a layer's output holds its channels and positions, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, final

from torch import Tensor


@final
@dataclass(frozen=True)
class ChannelsFirst:
    """``n c *spatial``, as convolutional networks give it."""

    channel_dim = 1

    def to_maps(self, output: Tensor) -> Tensor:
        """``n c *spatial``, a view."""
        return output

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
        return output.movedim(-1, 1)

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


def choose_layout(layout: LayoutLike, shape: Sequence[int], image_size: Sequence[int]) -> Layout:
    """The layout of a layer's output of this shape, for images of this size.

    None accepts only what is ``n c *spatial`` beyond doubt and names the alternative otherwise, for read in
    the wrong order the axes would give a map of nonsense. "infer" takes that alternative.
    """
    if layout is not None and layout != "infer":
        return layout
    if len(shape) == 2 + len(image_size) and _same_aspect(shape[2:], image_size):
        return ChannelsFirst()
    found = _infer(shape, image_size)
    if layout == "infer" and found is not None:
        return found
    hint = f'pass layout="infer" (it would be {found})' if found else "pass a layer that keeps positions"
    raise ValueError(
        f"the layer's output {tuple(shape)} is not [n, channels, *positions] of images {tuple(image_size)}; "
        f"{hint}, or one of layout=Tokens(grid, prefix), ChannelsLast(), ChannelsFirst()"
    )


def _same_aspect(positions: Sequence[int], image_size: Sequence[int]) -> bool:
    """Whether one stride could have led from the image to these positions, a pixel of padding allowed."""
    strides_from = [size / (p + 1) for p, size in zip(positions, image_size, strict=True)]
    strides_to = [size / max(p - 1, 0.5) for p, size in zip(positions, image_size, strict=True)]
    return max(strides_from) <= min(strides_to)


def _infer(shape: Sequence[int], image_size: Sequence[int]) -> Layout | None:
    if len(shape) == 2 + len(image_size) and _same_aspect(shape[1:-1], image_size):
        return ChannelsLast()
    if len(shape) == 3 and len(image_size) == 2:
        for prefix in range(9):  # a class token, a distillation token, up to eight registers
            grid = _grid(shape[1] - prefix, image_size[0], image_size[1])
            if grid is not None:
                return Tokens(grid, prefix)
    return None


def _grid(tokens: int, height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns of the image's own aspect that make exactly so many tokens."""
    rows = round((max(tokens, 0) * height / width) ** 0.5)
    if rows > 0 and tokens % rows == 0 and rows * width == (tokens // rows) * height:
        return rows, tokens // rows
    return None

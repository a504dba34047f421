"""What a value of the tail looks like while channels are ablated.

Base: nothing changed; one tensor for all ablations. PerChannel: ablation k changes only the entries that channel k owns
along one axis, so that the changes of all ablations fit in one tensor of the base's shape. Dense: anything may have
changed; one row for every ablation, in chunks (`xaimed_core.tail.run.algebra`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Block:
    """Along axis ``dim``, channel k owns the ``width`` entries from ``offset + p * stride + k * width`` on, for every
    ``p`` below ``repeats``: more than one where ``[n, h, w, c]`` was flattened. A single one has the ``stride`` 1."""

    dim: int
    offset: int
    width: int
    channels: int
    repeats: int = 1
    stride: int = 1

    @property
    def entries(self) -> int:
        """How many entries a channel owns."""
        return self.repeats * self.width

    @property
    def size(self) -> int:
        """How many entries the channels own together."""
        return self.channels * self.entries

    def owned(self, tensor: Tensor, dim: int) -> Tensor:
        """The entries along an axis as three in its place, ``repeats, channels, width``: a view."""
        together = self.channels * self.width
        span = tensor.narrow(dim, self.offset, (self.repeats - 1) * self.stride + together)
        by_repeat = span.unfold(dim, together, self.stride).movedim(-1, dim + 1)
        return by_repeat.unflatten(dim + 1, (self.channels, self.width))

    def region(self, tensor: Tensor) -> Tensor:
        """The part of a tensor along ``dim`` that the channels own, in its order."""
        return self.region_along(tensor, self.dim)

    def region_along(self, tensor: Tensor, dim: int) -> Tensor:
        """The same entries along another axis, of weights that meet the value there; a view unless they are apart."""
        return self.owned(tensor, dim).flatten(dim, dim + 2)

    def entries_of(self, channel: Tensor) -> Tensor:
        """Where along the axis each of ``channel [r]`` has its entries, ``[r, entries]``."""
        at = torch.arange(self.entries, device=channel.device)
        within = at // self.width * self.stride + at % self.width
        return self.offset + self.width * channel.unsqueeze(1) + within

    def scaled(self, dim: int, by: int) -> Block:
        """The same entries where each became ``by``, along an axis."""
        return self.repeated(dim, self.offset * by, self.width * by, self.repeats, self.stride * by)

    def repeated(self, dim: int, offset: int, width: int, repeats: int, stride: int) -> Block:
        """The same channels elsewhere."""
        return Block(dim, offset, width, self.channels, repeats, stride if repeats > 1 else 1)


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """Changes are computed in float32, in float64 where the network is."""
    return torch.promote_types(tensor.dtype, torch.float32) if tensor.is_floating_point() else torch.float32


def exact(tensor: Tensor) -> Tensor:
    """A real tensor in the precision that changes are computed in; others as they are."""
    return tensor.to(compute_dtype(tensor)) if tensor.is_floating_point() else tensor


def channel_view(delta: Tensor, block: Block, n: int) -> Tensor:
    """Changes ``[n * f, ...]`` of a PerChannel value as ``[n, channels, entries, f, *rest]``."""
    return _by_channel(delta, block, n).flatten(2, 3)


def _by_channel(delta: Tensor, block: Block, n: int) -> Tensor:
    """``[n, channels, repeats, width, f, *rest]``, a view."""
    by_image = delta.unflatten(0, (n, -1)).movedim(block.dim + 1, 1)
    return by_image.unflatten(1, (block.repeats, block.channels, block.width)).transpose(1, 2)


def changed_rows(delta: Tensor, block: Block, n: int, image: Tensor, channel: Tensor) -> Tensor:
    """The changes of the ablations ``(image[r], channel[r])``, ``[r, entries, f, *rest]``."""
    return _by_channel(delta, block, n)[image, channel].flatten(1, 2)


def put_rows(rows: Tensor, block: Block, channel: Tensor, changes: Tensor) -> Tensor:
    """Add ``changes [r, entries, f, *rest]`` to the entries of ``channel [r]`` in ``rows [r * f, ...]``, in place."""
    count = len(channel)
    by_row = rows.unflatten(0, (count, -1)).movedim(block.dim + 1, 1)
    blocks = block.owned(by_row, 1).transpose(1, 2)
    at = torch.arange(count, device=rows.device)
    added = changes.unflatten(1, (block.repeats, block.width))
    blocks[at, channel] = (blocks[at, channel] + added).to(rows.dtype)
    return rows


def take_rows(tensor: Tensor, dim: int, factor: int, n: int, image: Tensor, one_image: bool) -> Tensor:
    """Rows of a tensor that holds ``n`` images along ``dim``, ``factor`` places each; a view where it can be."""
    by_image = tensor if factor == 1 else tensor.unflatten(dim, (n, factor))
    if one_image:
        shape = list(by_image.shape)
        shape[dim] = len(image)
        taken = by_image.narrow(dim, int(image[0]), 1).expand(shape)
    else:
        taken = by_image.index_select(dim, image)
    return taken if factor == 1 else taken.flatten(dim, dim + 1)

"""What a value of the tail looks like while channels are ablated.

Base: nothing changed; one tensor for all ablations. Chan: ablation k changes only the entries that channel k owns
along one axis, so that the changes of all ablations fit in one tensor of the base's shape. Dense: anything may have
changed; one row for every ablation, in chunks (`xaimed_core.tail.algebra`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Block:
    """Along axis ``dim``, channel k owns the ``width`` entries from ``offset + k * width`` on."""

    dim: int
    offset: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        """How many entries the channels own together."""
        return self.channels * self.width

    def region(self, tensor: Tensor) -> Tensor:
        """The part of a tensor along ``dim`` that the channels own, a view."""
        return self.region_along(tensor, self.dim)

    def region_along(self, tensor: Tensor, dim: int) -> Tensor:
        """The same entries along another axis, of weights that meet the value there."""
        return tensor.narrow(dim, self.offset, self.size)


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """Changes are computed in float32, in float64 where the network is."""
    return torch.promote_types(tensor.dtype, torch.float32) if tensor.is_floating_point() else torch.float32


def exact(tensor: Tensor) -> Tensor:
    """A real tensor in the precision that changes are computed in; others as they are."""
    return tensor.to(compute_dtype(tensor)) if tensor.is_floating_point() else tensor


def channel_view(delta: Tensor, block: Block, n: int) -> Tensor:
    """Changes ``[n * f, ...]`` of a Chan as ``[n, channels, width, f, *rest]``, a view."""
    by_image = delta.unflatten(0, (n, -1)).movedim(block.dim + 1, 1)
    return by_image.unflatten(1, (block.channels, block.width))


def changed_rows(delta: Tensor, block: Block, n: int, image: Tensor, channel: Tensor) -> Tensor:
    """The changes of the ablations ``(image[r], channel[r])``, ``[r, width, f, *rest]``."""
    return channel_view(delta, block, n)[image, channel]


def put_rows(rows: Tensor, block: Block, channel: Tensor, changes: Tensor) -> Tensor:
    """Add ``changes [r, width, f, *rest]`` to the entries of ``channel [r]`` in ``rows [r * f, ...]``, in place."""
    count = len(channel)
    by_row = rows.unflatten(0, (count, -1)).movedim(block.dim + 1, 1).narrow(1, block.offset, block.size)
    blocks = by_row.unflatten(1, (block.channels, block.width))
    at = torch.arange(count, device=rows.device)
    blocks[at, channel] = (blocks[at, channel] + changes).to(rows.dtype)
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

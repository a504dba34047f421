"""The first operation that mixes channels: what one ablated channel adds to its result, without running it whole.

A convolution of a change in one channel is ``W[:, k] * d_k`` with one of its C input channels; a linear layer of it
is ``d_k W[k]``. Both cost a C-th of the operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.rules import Site
from xaimed_core.tail.tape import Call

Constant = Callable[[int], Tensor]
"""Tensors that all images share, in the precision of changes."""


@final
@dataclass(frozen=True)
class Mixing:
    """How a call mixes one channel's change into its result.

    rows: ``(call, changes [r, width, f, *rest], channel [r], constant)`` to the change of the result, ``[r * f, ...]``.
    table: ``(changes [n, channels, width, f], constant)`` to ``[n, channels, f, out]``, for all channels at once; given
        where rows would read more weights than they write results, so that one pass over the weights is better.
    """

    rows: Callable[[Call, Tensor, Tensor, Constant], Tensor]
    table: Callable[[Tensor, Constant], Tensor] | None = None


def mixing_rule(site: Site, is_constant: Callable[[int], bool]) -> Mixing | None:
    """The rule of a call whose values that depend on the layer are Chan; None where there is none."""
    match site.call.name:
        case "convolution":
            return _mix_by_convolution(site, is_constant)
        case "addmm" if not site.call.kwargs:
            return _mix_by_product(site, 1, is_constant)
        case "mm":
            return _mix_by_product(site, 0, is_constant)
        case _:
            return None


def _mix_by_product(site: Site, at: int, is_constant: Callable[[int], bool]) -> Mixing | None:
    """Rows times a constant matrix ``[features, out]``."""
    block, matrix = site.block(site.call.args[at]), site.call.args[at + 1]
    if block is None or len(site.blocks) != 1 or not is_constant(matrix.index):
        return None

    def by_channel(constant: Constant) -> Tensor:
        return block.region_along(constant(matrix.index), 0).unflatten(0, (block.channels, block.width))

    def rows(_call: Call, changes: Tensor, channel: Tensor, constant: Constant) -> Tensor:
        weights = by_channel(constant)[channel]
        if block.width == 1:
            return (changes.transpose(1, 2) * weights).flatten(0, 1)
        return torch.bmm(changes.transpose(1, 2), weights).flatten(0, 1)

    def table(changes: Tensor, constant: Constant) -> Tensor:
        n, f = changes.shape[0], changes.shape[3]
        products = torch.bmm(changes.permute(1, 0, 3, 2).flatten(1, 2), by_channel(constant))
        return products.unflatten(1, (n, f)).transpose(0, 1)

    per_image = site.shape(site.call.args[at].index)[0] // site.images
    return Mixing(rows, table if block.width > per_image else None)


def _mix_by_convolution(site: Site, is_constant: Callable[[int], bool]) -> Mixing | None:
    x, weight, _bias, *_rest = site.call.args
    block, transposed, groups = site.block(x), site.call.args[6], site.call.args[8]
    if (
        block is None
        or block.dim != 1
        or len(site.blocks) != 1
        or transposed
        or not is_constant(weight.index)
    ):
        return None
    outputs, per_group = site.shape(weight.index)[0] // groups, site.shape(weight.index)[1]
    if per_group % block.width or block.offset % block.width:
        return None

    def rows(call: Call, changes: Tensor, channel: Tensor, constant: Constant) -> Tensor:
        first = block.offset + channel * block.width
        group, within = first // per_group, (first % per_group) // block.width
        filters = constant(weight.index).unflatten(0, (groups, outputs)).unflatten(2, (-1, block.width))
        part = _convolve(call, changes, filters[group, :, within])
        if groups == 1:
            return part.flatten(0, 1)
        whole = part.new_zeros(len(part), part.shape[1], groups, *part.shape[2:])
        at = torch.arange(len(part), device=part.device)
        whole[at, :, group] = part
        return whole.flatten(2, 3).flatten(0, 1)

    return Mixing(rows)


def _convolve(call: Call, changes: Tensor, filters: Tensor) -> Tensor:
    """Rows ``[r, width, f, *size]``, each with filters ``[r, out, width, *kernel]``, to ``[r, f, out, *size]``."""
    stride, padding, dilation = call.args[3:6]
    count, outputs, width, *kernel = filters.shape
    if all(k == 1 for k in kernel) and not any(padding):
        steps = (..., *(slice(None, None, s) for s in stride))
        seen = changes[steps].transpose(1, 2)
        if width == 1:
            return seen * filters.unsqueeze(1).squeeze(3)
        products = torch.bmm(filters.reshape(count, outputs, width), seen.transpose(1, 2).flatten(2))
        return products.unflatten(2, (seen.shape[1], *seen.shape[3:])).transpose(1, 2)
    by_group = changes.movedim(2, 0).flatten(1, 2)
    options: list[Any] = [stride, padding, dilation, False, [0] * len(kernel), count]
    found = torch.ops.aten.convolution.default(by_group, filters.flatten(0, 1), None, *options)
    return found.unflatten(1, (count, outputs)).transpose(0, 1)

"""The first operation that mixes channels: what one ablated channel adds to its result, without running it whole.

A convolution of a change in one channel is ``W[:, k] * d_k`` with one of its C input channels; a linear layer of it
is ``d_k W[k]``. Both cost a C-th of the operation. Whatever scales each result afterwards scales ``W`` instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.carry.rules import Site
from xaimed_core.tail.record.calls import Call

Constant = Callable[[int], Tensor]
"""Tensors that all images share, in the precision of changes."""
IN_CACHE = 64
"""Results at a time that are summed entry by entry: with some hundred channels they stay in the cache."""


@final
@dataclass(frozen=True)
class Mixing:
    """How a call mixes one channel's change into its result.

    weights: what each channel meets, ``[channels, ...]``, computed once for all rows.
    rows: ``(call, changes [r, entries, f, *rest], channel [r], weights, base)`` to the change of the result
        ``[r * f, ...]``, to ``base`` plus the change where a base is given.
    scale: the weights with every result multiplied by its own of ``factors [out]``.
    table: ``(changes [n, channels, entries, f], weights)`` to ``[n, channels, f, out]``, for all channels at
        once; given where rows would read more weights than they write results: one pass over the weights is better.
    """

    weights: Callable[[Constant], Tensor]
    rows: Callable[[Call, Tensor, Tensor, Tensor, Tensor | None], Tensor]
    scale: Callable[[Tensor, Tensor], Tensor]
    table: Callable[[Tensor, Tensor], Tensor] | None = None

    def scaled(self, factors: Callable[[Constant], Tensor]) -> Mixing:
        """The same mixing with every result multiplied by a factor of its own."""
        return dataclasses.replace(self, weights=lambda x: self.scale(self.weights(x), factors(x)))


def plus(base: Tensor, change: Tensor) -> Tensor:
    """``base`` with a change, in the base's precision; the change's memory is used for it where it can be."""
    return change.add_(base) if change.dtype == base.dtype else (base + change).to(base.dtype)


def mixing_rule(site: Site, is_constant: Callable[[int], bool]) -> Mixing | None:
    """The rule of a call whose values that depend on the layer are PerChannel; None where there is none."""
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

    def weights(constant: Constant) -> Tensor:
        return block.owned(constant(matrix.index), 0).transpose(0, 1).flatten(1, 2)

    def rows(_call: Call, changes: Tensor, channel: Tensor, weights: Tensor, base: Tensor | None) -> Tensor:
        met = weights[channel]
        products = changes.transpose(1, 2) * met if block.entries == 1 else changes.transpose(1, 2) @ met
        change = products.flatten(0, 1)
        return change if base is None else plus(base, change)

    def table(changes: Tensor, weights: Tensor) -> Tensor:
        n, f = changes.shape[0], changes.shape[3]
        if 1 not in weights.stride()[1:]:
            found = _by_entry(
                changes.permute(0, 3, 2, 1).flatten(0, 1).contiguous(), weights.permute(2, 1, 0)
            )
            return found.unflatten(0, (n, f)).permute(0, 3, 1, 2)
        products = torch.bmm(changes.permute(1, 0, 3, 2).flatten(1, 2), weights)
        return products.unflatten(1, (n, f)).transpose(0, 1)

    per_image = site.shape(site.call.args[at].index)[0] // site.images
    return Mixing(weights, rows, torch.mul, table if block.entries > per_image else None)


def _by_entry(changes: Tensor, weights: Tensor) -> Tensor:
    """Changes ``[r, entries, channels]`` times weights ``[out, entries, channels]``, ``[r, out, channels]``.

    For weights whose channels are interleaved: a product of matrices would first copy them all, entry by entry out of
    order (100 times as long for VGG-16's first linear layer); here each is read where it is, once.
    """
    found = changes.new_zeros(len(changes), len(weights), changes.shape[2])
    for start in range(0, len(weights), IN_CACHE):
        met = weights[start : start + IN_CACHE].unbind(1)
        for results, change in zip(found[:, start : start + IN_CACHE], changes, strict=True):
            for by_result, of_entry in zip(met, change, strict=True):
                results.addcmul_(by_result, of_entry)
    return found


def _mix_by_convolution(site: Site, is_constant: Callable[[int], bool]) -> Mixing | None:
    x, weight, _bias, *_rest = site.call.args
    block, transposed, groups = site.block(x), site.call.args[6], site.call.args[8]
    if (
        block is None
        or block.dim != 1
        or block.repeats > 1
        or len(site.blocks) != 1
        or transposed
        or not is_constant(weight.index)
    ):
        return None
    outputs, per_group = site.shape(weight.index)[0] // groups, site.shape(weight.index)[1]
    if per_group % block.width or block.offset % block.width:
        return None

    def group(channel: Tensor) -> Tensor:
        return (block.offset + channel * block.width) // per_group

    def weights(constant: Constant) -> Tensor:
        filters = constant(weight.index).unflatten(0, (groups, outputs)).unflatten(2, (-1, block.width))
        by_channel = filters.transpose(1, 2).flatten(0, 1)
        return by_channel.narrow(0, block.offset // block.width, block.channels).contiguous()

    def scale(weights: Tensor, factors: Tensor) -> Tensor:
        of_channel = factors.unflatten(0, (groups, outputs))[
            group(torch.arange(len(weights), device=weights.device))
        ]
        return weights * of_channel.reshape(*of_channel.shape, *[1] * (weights.ndim - 2))

    def rows(call: Call, changes: Tensor, channel: Tensor, weights: Tensor, base: Tensor | None) -> Tensor:
        if groups == 1:
            return _convolve(call, changes, weights[channel], base)
        part = _convolve(call, changes, weights[channel], None).unflatten(0, (len(channel), -1))
        whole = part.new_zeros(len(part), part.shape[1], groups, *part.shape[2:])
        at = torch.arange(len(part), device=part.device)
        whole[at, :, group(channel)] = part
        change = whole.flatten(2, 3).flatten(0, 1)
        return change if base is None else plus(base, change)

    return Mixing(weights, rows, scale)


def _convolve(call: Call, changes: Tensor, filters: Tensor, base: Tensor | None) -> Tensor:
    """Rows ``[r, width, f, *size]``, each with filters ``[r, out, width, *kernel]``, to ``[r * f, out, *size]``."""
    stride, padding, dilation = call.args[3:6]
    count, outputs, width, *kernel = filters.shape
    if all(k == 1 for k in kernel) and not any(padding):
        seen = changes[(..., *(slice(None, None, s) for s in stride))].transpose(1, 2)
        if width == 1:
            met = filters.unsqueeze(1).squeeze(3)
            if base is not None and base.dtype == seen.dtype:
                return torch.addcmul(base.unflatten(0, (count, -1)), seen, met).flatten(0, 1)
            change = (seen * met).flatten(0, 1)
        else:
            products = torch.bmm(filters.reshape(count, outputs, width), seen.transpose(1, 2).flatten(2))
            change = products.unflatten(2, (seen.shape[1], *seen.shape[3:])).transpose(1, 2).flatten(0, 1)
    else:
        by_group = changes.movedim(2, 0).flatten(1, 2)
        options: list[Any] = [stride, padding, dilation, False, [0] * len(kernel), count]
        found = torch.ops.aten.convolution.default(by_group, filters.flatten(0, 1), None, *options)
        change = found.unflatten(1, (count, outputs)).transpose(0, 1).flatten(0, 1)
    return change if base is None else plus(base, change)

"""Rules: operations that keep every channel's change in a block of its own (Chan to Chan), by operation.

A rule looks at shapes alone. It says where the blocks lie in each result, and how to compute the change; an operation
without a rule makes rows (Dense) and stays correct.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.aten import argument
from xaimed_core.tail.linear import BATCH_NORMS, Look, batch_norm_scale, linear_form
from xaimed_core.tail.tape import Call, Value, replace
from xaimed_core.tail.values import Block, exact


@final
@dataclass(frozen=True)
class Site:
    """A call whose values that depend on the layer are all Chan.

    call: with its integers for so many ``images``; shape: of any value, for as many. blocks: of the Chan values.
    """

    call: Call
    images: int
    blocks: dict[int, Block]
    shape: Callable[[int], tuple[int, ...]]

    def block(self, leaf: Any) -> Block | None:
        """The block of an argument, None if it does not depend on the layer."""
        return self.blocks.get(leaf.index) if isinstance(leaf, Value) else None


@final
@dataclass(frozen=True)
class Regions:
    """What a rule computes with: the change of a Chan, the base of any value, both for all images.

    ``call``: the call with its integers for this number of images.
    """

    call: Call
    change: Callable[[int], Tensor]
    base: Callable[[int], Tensor]


@final
@dataclass(frozen=True)
class Carried:
    """Where the blocks lie in each result (None: the result is not Chan and must not be read), and the changes.

    reads: values whose base the changes are computed from, besides external ones.
    """

    blocks: tuple[Block | None, ...]
    changes: Callable[[Regions], tuple[Tensor | None, ...]]
    reads: frozenset[int] = frozenset()


Rule = Callable[[Site], Carried | None]

POINTWISE_WITHOUT_TAG = frozenset(
    ("hardswish", "hardsigmoid", "prelu", "_prelu_kernel", "masked_fill", "relu6")
)


def carry(site: Site) -> Carried | None:
    """The rule for a call, applied; None where there is none or it does not hold here."""
    call = site.call
    if torch.Tag.pointwise in call.op.tags or call.name in POINTWISE_WITHOUT_TAG:
        return _pointwise(site)
    rule = RULES.get(call.name)
    return None if rule is None else rule(site)


def _carried(site: Site, moved: tuple[Block | None, ...], narrow: Callable[[int, Tensor], Tensor]) -> Carried:
    """f(base + change) - f(base) on the region that the channels own, or f(change) where f is linear.

    ``narrow`` cuts a value that did not change down to that region.
    """
    call, blocks = site.call, site.blocks
    form = linear_form(call, blocks)

    def changes(regions: Regions) -> tuple[Tensor | None, ...]:
        def other(value: int) -> Tensor:
            return narrow(value, regions.base(value))

        if form is not None:
            return _results(form(regions.call, Look(blocks, regions.change, other)))

        def region(value: int) -> Tensor:
            return exact(blocks[value].region(regions.base(value)))

        after = Look(blocks, lambda value: region(value) + regions.change(value), other)
        before = Look(blocks, region, other)
        both = (_results(_apply(regions.call, look)) for look in (after, before))
        return tuple(a - b if m else None for a, b, m in zip(*both, moved, strict=True))

    return Carried(moved, changes, frozenset(blocks) if form is None else frozenset())


def _apply(call: Call, look: Look) -> Any:
    return call.op(*replace(call.args, look), **{k: replace(v, look) for k, v in call.kwargs.items()})


def _results(output: Any) -> tuple[Tensor, ...]:
    return tuple(output) if isinstance(output, tuple | list) else (output,)


def _pointwise(site: Site) -> Carried | None:
    """The blocks stay where they are, counted from the last axis as broadcasting does."""
    result = site.call.results[0]
    if result is None or len(site.call.results) != 1:
        return None
    shape = site.shape(result)
    found = {
        Block(len(shape) - len(site.shape(v)) + b.dim, b.offset, b.width, b.channels)
        for v, b in site.blocks.items()
    }
    if len(found) != 1:
        return None
    (block,) = found
    if block.dim == 0 or any(site.shape(v)[b.dim] != shape[block.dim] for v, b in site.blocks.items()):
        return None
    from_end = len(shape) - block.dim

    def narrow(value: int, tensor: Tensor) -> Tensor:
        if tensor.ndim < from_end or tensor.shape[-from_end] == 1:
            return tensor
        return tensor.narrow(-from_end, block.offset, block.size)

    return _carried(site, (block,), narrow)


def _only(site: Site) -> Block | None:
    """The block of the first argument where nothing else depends on the layer."""
    block = site.block(site.call.args[0])
    return block if block is not None and len(site.blocks) == 1 else None


def _whole(_value: int, tensor: Tensor) -> Tensor:
    return tensor


def _spatial(axes: int) -> Rule:
    """Acts on the last axes of each channel alone."""

    def rule(site: Site) -> Carried | None:
        block = _only(site)
        if block is None or block.dim >= len(site.shape(site.call.args[0].index)) - axes:
            return None
        return _carried(site, (block, *[None] * (len(site.call.results) - 1)), _whole)

    return rule


def _batch_norm(site: Site) -> Carried | None:
    block = _only(site)
    if block is None or block.dim != 1:
        return None

    def changes(regions: Regions) -> tuple[Tensor | None, ...]:
        change = regions.change(site.call.args[0].index)

        def tensor(leaf: Any) -> Any:
            return exact(regions.base(leaf.index)) if isinstance(leaf, Value) else leaf

        scale = batch_norm_scale(site.call, tensor).narrow(0, block.offset, block.size)
        return change * scale.reshape(-1, *[1] * (change.ndim - 2)), *rest

    rest = (None,) * (len(site.call.results) - 1)
    return Carried((block, *rest), changes)


def _reduce(site: Site) -> Carried | None:
    """Mean or sum over axes other than the batch's and the channels'."""
    block = _only(site)
    dims = argument(site.call.op, site.call.args, site.call.kwargs, "dim")
    if block is None or not dims:
        return None
    ndim = len(site.shape(site.call.args[0].index))
    gone = {dim % ndim for dim in dims}
    if gone & {0, block.dim}:
        return None
    keep = argument(site.call.op, site.call.args, site.call.kwargs, "keepdim")
    dim = block.dim if keep else block.dim - sum(g < block.dim for g in gone)
    return _carried(site, (Block(dim, block.offset, block.width, block.channels),), _whole)


def _reshape(site: Site) -> Carried | None:
    """Where a channel's entries stay together: the axes before its own hold as much before as after."""
    block = _only(site)
    (result,) = site.call.results
    if block is None or result is None:
        return None
    before, after = site.shape(site.call.args[0].index), site.shape(result)
    outer, inner = prod(before[: block.dim]), prod(before[block.dim + 1 :])
    found = [
        d for d in range(1, len(after)) if prod(after[:d]) == outer and (after[d] > 1 or d == len(after) - 1)
    ]
    if not found:
        return None
    dim = found[0]
    unit = prod(after[dim + 1 :])
    if block.width * inner % unit or block.offset * inner % unit:
        return None
    moved = Block(dim, block.offset * inner // unit, block.width * inner // unit, block.channels)
    shape = [-1, *after[1:dim], moved.size, *after[dim + 1 :]]
    return Carried((moved,), lambda regions: (regions.change(site.call.args[0].index).reshape(shape),))


def _moves(where: Callable[[Call, Block, int], int | None]) -> Rule:
    """Views: ``where(call, block, axes)`` says which axis the channels' becomes, None where blocks are torn apart."""

    def rule(site: Site) -> Carried | None:
        block = _only(site)
        dim = None if block is None else where(site.call, block, len(site.shape(site.call.args[0].index)))
        if block is None or dim is None:
            return None
        moved = Block(dim, block.offset, block.width, block.channels)
        return _carried(site, (moved,) * len(site.call.results), _whole)

    return rule


def _permute(call: Call, block: Block, ndim: int) -> int | None:
    order = [dim % ndim for dim in call.args[1]]
    return order.index(block.dim) if order[0] == 0 else None


def _transpose(call: Call, block: Block, ndim: int) -> int | None:
    a, b = (dim % ndim for dim in call.args[1:3])
    return None if 0 in (a, b) else {a: b, b: a}.get(block.dim, block.dim)


def _unsqueeze(call: Call, block: Block, ndim: int) -> int | None:
    new = call.args[1] % (ndim + 1)
    return None if new == 0 else block.dim + (new <= block.dim)


def _squeeze(call: Call, block: Block, ndim: int) -> int | None:
    if len(call.args) == 1:
        return None
    dims = call.args[1] if isinstance(call.args[1], list | tuple) else [call.args[1]]
    gone = {dim % ndim for dim in dims}
    return None if gone & {0, block.dim} else block.dim - sum(dim < block.dim for dim in gone)


def _elsewhere(name: str, default: int = 0) -> Callable[[Call, Block, int], int | None]:
    """Along an axis that is neither the batch's nor the channels'; which one is the argument of this name."""

    def where(call: Call, block: Block, ndim: int) -> int | None:
        dims = argument(call.op, call.args, call.kwargs, name)
        dims = [default] if dims is None else dims if isinstance(dims, list | tuple) else [dims]
        gone = {dim % ndim for dim in dims}
        if gone & {0, block.dim} or not dims:
            return None
        return block.dim - (call.name in ("select", "unbind") and min(gone) < block.dim)

    return where


def _expand(site: Site) -> Carried | None:
    block = _only(site)
    (result,) = site.call.results
    if block is None or result is None:
        return None
    before, after = site.shape(site.call.args[0].index), site.shape(result)
    if len(before) != len(after) or before[0] != after[0] or before[block.dim] != after[block.dim]:
        return None
    shape = [-1, *after[1 : block.dim], -1, *after[block.dim + 1 :]]
    return Carried((block,), lambda regions: (regions.change(site.call.args[0].index).expand(shape),))


def _cat(site: Site) -> Carried | None:
    """Along the channels one Chan among bases moves on; along another axis what is not Chan brings no change."""
    parts = site.call.args[0]
    blocks = set(site.blocks.values())
    (block,) = blocks if len(blocks) == 1 else (None,)
    if block is None or not all(isinstance(part, Value) for part in parts):
        return None
    shapes = [site.shape(part.index) for part in parts]
    dim = argument(site.call.op, site.call.args, site.call.kwargs, "dim") % len(shapes[0])
    if dim == 0 or len({len(shape) for shape in shapes}) != 1:
        return None
    if dim != block.dim:
        return _carried(site, (block,), lambda _value, base: block.region(base))
    at = [i for i, part in enumerate(parts) if site.block(part) is not None]
    if len(at) != 1:
        return None
    before = sum(shape[dim] for shape in shapes[: at[0]])
    moved = Block(dim, block.offset + before, block.width, block.channels)
    return Carried((moved,), lambda regions: (regions.change(parts[at[0]].index),))


def _stack(site: Site) -> Carried | None:
    """Along a new axis; what is not Chan brings no change."""
    blocks = set(site.blocks.values())
    (block,) = blocks if len(blocks) == 1 else (None,)
    result = site.call.results[0]
    if block is None or result is None:
        return None
    new = argument(site.call.op, site.call.args, site.call.kwargs, "dim") % len(site.shape(result))
    if new == 0:
        return None
    moved = Block(block.dim + (new <= block.dim), block.offset, block.width, block.channels)
    return _carried(site, (moved,), lambda _value, base: block.region(base))


def _pad(site: Site) -> Carried | None:
    block = _only(site)
    if block is None:
        return None
    ndim, pads = len(site.shape(site.call.args[0].index)), list(site.call.args[1])
    if len(pads) // 2 >= ndim:
        return None
    at = 2 * (ndim - 1 - block.dim)
    moved = Block(block.dim, block.offset + sum(pads[at : at + 1]), block.width, block.channels)
    if min(pads[at : at + 2], default=0) < 0:
        return None
    kept = [0 if i in (at, at + 1) else pad for i, pad in enumerate(pads)]
    return Carried(
        (moved,), lambda regions: (torch.constant_pad_nd(regions.change(site.call.args[0].index), kept),)
    )


def _depthwise(site: Site) -> Carried | None:
    """A convolution with one input channel per group, each giving as many output channels."""
    block = _only(site)
    x, weight, _bias, stride, padding, dilation, transposed, _output_padding, groups = site.call.args
    if block is None or block.dim != 1 or transposed or groups != site.shape(x.index)[1]:
        return None
    per = site.shape(weight.index)[0] // groups
    moved = Block(1, block.offset * per, block.width * per, block.channels)

    def changes(regions: Regions) -> tuple[Tensor]:
        filters = exact(regions.base(weight.index)).narrow(0, moved.offset, moved.size)
        options = (stride, padding, dilation, False, [0] * len(stride), block.size)
        return (torch.ops.aten.convolution.default(regions.change(x.index), filters, None, *options),)

    return Carried((moved,), changes)


def _cast(site: Site) -> Carried | None:
    """To another precision of real numbers."""
    block = _only(site)
    dtype = site.call.kwargs.get("dtype")
    if block is None or (dtype is not None and not dtype.is_floating_point):
        return None
    return _carried(site, (block,), _whole)


RULES: dict[str, Rule] = {
    **dict.fromkeys(BATCH_NORMS, _batch_norm),
    **dict.fromkeys(("mean", "sum"), _reduce),
    **dict.fromkeys(
        ("avg_pool1d", "adaptive_avg_pool1d", "upsample_nearest1d", "upsample_linear1d"), _spatial(1)
    ),
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d"), _spatial(2)),
    **dict.fromkeys(
        ("adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
        _spatial(2),
    ),
    **dict.fromkeys(("reflection_pad2d", "replication_pad2d"), _spatial(2)),
    **dict.fromkeys(("max_pool3d_with_indices", "avg_pool3d", "_adaptive_avg_pool3d"), _spatial(3)),
    **dict.fromkeys(("upsample_nearest3d", "upsample_trilinear3d"), _spatial(3)),
    "reshape": _reshape,
    "permute": _moves(_permute),
    "transpose": _moves(_transpose),
    "unsqueeze": _moves(_unsqueeze),
    "squeeze": _moves(_squeeze),
    **dict.fromkeys(("select", "slice", "split", "split_with_sizes", "unbind"), _moves(_elsewhere("dim"))),
    **dict.fromkeys(("flip", "roll"), _moves(_elsewhere("dims"))),
    "expand": _expand,
    "cat": _cat,
    "stack": _stack,
    "constant_pad_nd": _pad,
    "convolution": _depthwise,
    "_to_copy": _cast,
}
"""By the operation's name, never by the model's."""

"""Operations that move blocks: to another axis, by an offset, or to another width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import torch

from xaimed_core.tail.carry.rules.carrying import Carried, Rule, Site, carried, only, whole
from xaimed_core.tail.carry.values import Block
from xaimed_core.tail.record.aten import argument
from xaimed_core.tail.record.calls import Call, Value


def reshape(site: Site) -> Carried | None:
    """Where some axis of the result holds every channel's entries at one distance."""
    block = only(site)
    (result,) = site.call.results
    if block is None or result is None:
        return None
    x, after = site.call.args[0].index, site.shape(result)
    moved = _reshaped(block, site.shape(x), after)
    if moved is None:
        return None
    shape = [-1, *after[1 : moved.dim], moved.size, *after[moved.dim + 1 :]]
    return Carried((moved,), lambda regions: (regions.change(x).reshape(shape),))


def _reshaped(block: Block, before: tuple[int, ...], after: tuple[int, ...]) -> Block | None:
    """Seen flat, a channel's entries come back every ``period``: for every index of the axes before the block's, and
    as often as the block repeats. An axis of the result holds as many repeats as its own leading axes leave."""
    outer, axis, inner = prod(before[: block.dim]), before[block.dim], prod(before[block.dim + 1 :])
    flat = block.scaled(0, inner)
    even = block.repeats == 1 or block.repeats * block.stride == axis
    period = axis * inner if block.repeats == 1 else flat.stride
    for dim in range(1, len(after)):
        leading, unit = prod(after[:dim]), prod(after[dim + 1 :])
        repeats, torn = divmod(outer * block.repeats, leading)
        apart = period if repeats > 1 else 0
        torn = torn or any(x % unit for x in (flat.offset, flat.width, apart))
        if not torn and (even or leading == outer):
            return flat.repeated(dim, flat.offset // unit, flat.width // unit, repeats, apart // unit)
    return None


def moves(where: Callable[[Call, Block, int], int | None]) -> Rule:
    """Views: ``where(call, block, axes)`` says which axis the channels' becomes, None where blocks are torn apart."""

    def rule(site: Site) -> Carried | None:
        block = only(site)
        dim = None if block is None else where(site.call, block, len(site.shape(site.call.args[0].index)))
        if block is None or dim is None:
            return None
        moved = replace(block, dim=dim)
        return carried(site, (moved,) * len(site.call.results), whole)

    return rule


def permute(call: Call, block: Block, ndim: int) -> int | None:
    """Where the batch stays in front."""
    order = [dim % ndim for dim in call.args[1]]
    return order.index(block.dim) if order[0] == 0 else None


def transpose(call: Call, block: Block, ndim: int) -> int | None:
    """Of two axes without the batch."""
    a, b = (dim % ndim for dim in call.args[1:3])
    return None if 0 in (a, b) else {a: b, b: a}.get(block.dim, block.dim)


def unsqueeze(call: Call, block: Block, ndim: int) -> int | None:
    """Not in front of the batch."""
    new = call.args[1] % (ndim + 1)
    return None if new == 0 else block.dim + (new <= block.dim)


def squeeze(call: Call, block: Block, ndim: int) -> int | None:
    """Of named axes other than the batch and the channels'."""
    if len(call.args) == 1:
        return None
    dims = call.args[1] if isinstance(call.args[1], list | tuple) else [call.args[1]]
    gone = {dim % ndim for dim in dims}
    return None if gone & {0, block.dim} else block.dim - sum(dim < block.dim for dim in gone)


def elsewhere(name: str, default: int = 0) -> Callable[[Call, Block, int], int | None]:
    """Along an axis that is neither the batch's nor the channels'; which one is the argument of this name."""

    def where(call: Call, block: Block, ndim: int) -> int | None:
        dims = argument(call.op, call.args, call.kwargs, name)
        dims = [default] if dims is None else dims if isinstance(dims, list | tuple) else [dims]
        gone = {dim % ndim for dim in dims}
        if gone & {0, block.dim} or not dims:
            return None
        return block.dim - (call.name in ("select", "unbind") and min(gone) < block.dim)

    return where


def expand(site: Site) -> Carried | None:
    """Along axes that hold neither images nor channels."""
    block = only(site)
    (result,) = site.call.results
    if block is None or result is None:
        return None
    before, after = site.shape(site.call.args[0].index), site.shape(result)
    if len(before) != len(after) or before[0] != after[0] or before[block.dim] != after[block.dim]:
        return None
    shape = [-1, *after[1 : block.dim], -1, *after[block.dim + 1 :]]
    return Carried((block,), lambda regions: (regions.change(site.call.args[0].index).expand(shape),))


def cat(site: Site) -> Carried | None:
    """Along the channels one PerChannel value among bases moves on; along another axis bases bring no change."""
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
        return carried(site, (block,), lambda _value, base: block.region(base))
    at = [i for i, part in enumerate(parts) if site.block(part) is not None]
    if len(at) != 1:
        return None
    before = sum(shape[dim] for shape in shapes[: at[0]])
    moved = replace(block, offset=block.offset + before)
    return Carried((moved,), lambda regions: (regions.change(parts[at[0]].index),))


def stack(site: Site) -> Carried | None:
    """Along a new axis; bases bring no change."""
    blocks = set(site.blocks.values())
    (block,) = blocks if len(blocks) == 1 else (None,)
    result = site.call.results[0]
    if block is None or result is None:
        return None
    new = argument(site.call.op, site.call.args, site.call.kwargs, "dim") % len(site.shape(result))
    if new == 0:
        return None
    moved = replace(block, dim=block.dim + (new <= block.dim))
    return carried(site, (moved,), lambda _value, base: block.region(base))


def pad(site: Site) -> Carried | None:
    """By a constant, which brings no change; before the channels it moves them on."""
    block = only(site)
    if block is None:
        return None
    ndim, pads = len(site.shape(site.call.args[0].index)), list(site.call.args[1])
    if len(pads) // 2 >= ndim:
        return None
    at = 2 * (ndim - 1 - block.dim)
    moved = replace(block, offset=block.offset + sum(pads[at : at + 1]))
    if min(pads[at : at + 2], default=0) < 0:
        return None
    kept = [0 if i in (at, at + 1) else pad for i, pad in enumerate(pads)]
    return Carried(
        (moved,), lambda regions: (torch.constant_pad_nd(regions.change(site.call.args[0].index), kept),)
    )

"""Operations after which every channel's block lies along the axis it lay along, perhaps wider."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from xaimed_core.tail.carry.linear import batch_norm_scale
from xaimed_core.tail.carry.rules.carrying import Carried, Regions, Rule, Site, carried, only, whole
from xaimed_core.tail.carry.values import exact
from xaimed_core.tail.record.aten import argument
from xaimed_core.tail.record.calls import Call, Value

POINTWISE_WITHOUT_TAG = frozenset(
    ("hardswish", "hardsigmoid", "prelu", "_prelu_kernel", "masked_fill", "relu6", "leaky_relu")
)


def is_pointwise(call: Call) -> bool:
    """Whether every entry of the result depends on the same entry of each argument alone."""
    return torch.Tag.pointwise in call.op.tags or call.name in POINTWISE_WITHOUT_TAG


def pointwise(site: Site) -> Carried | None:
    """The blocks stay where they are, counted from the last axis as broadcasting does."""
    result = site.call.results[0]
    if result is None or len(site.call.results) != 1:
        return None
    shape = site.shape(result)
    found = {replace(b, dim=len(shape) - len(site.shape(v)) + b.dim) for v, b in site.blocks.items()}
    if len(found) != 1:
        return None
    (block,) = found
    if block.dim == 0 or any(site.shape(v)[b.dim] != shape[block.dim] for v, b in site.blocks.items()):
        return None
    from_end = len(shape) - block.dim

    def narrow(value: int, tensor: Tensor) -> Tensor:
        if tensor.ndim < from_end or tensor.shape[-from_end] == 1:
            return tensor
        return block.region_along(tensor, tensor.ndim - from_end)

    return carried(site, (block,), narrow)


def spatial(axes: int) -> Rule:
    """Acts on the last axes of each channel alone."""

    def rule(site: Site) -> Carried | None:
        block = only(site)
        if block is None or block.dim >= len(site.shape(site.call.args[0].index)) - axes:
            return None
        return carried(site, (block, *[None] * (len(site.call.results) - 1)), whole)

    return rule


def batch_norm(site: Site) -> Carried | None:
    """Outside training every channel is scaled by its own factor."""
    block = only(site)
    if block is None or block.dim != 1:
        return None

    def changes(regions: Regions) -> tuple[Tensor | None, ...]:
        change = regions.change(site.call.args[0].index)

        def tensor(leaf: Any) -> Any:
            return exact(regions.base(leaf.index)) if isinstance(leaf, Value) else leaf

        scale = block.region_along(batch_norm_scale(site.call, tensor), 0)
        return change * scale.reshape(-1, *[1] * (change.ndim - 2)), *rest

    rest = (None,) * (len(site.call.results) - 1)
    return Carried((block, *rest), changes)


def instance_norm(site: Site) -> Carried | None:
    """A group normalisation of one channel per group."""
    block = only(site)
    channels, groups = site.call.args[4], site.call.args[6]
    if block is None or block.dim != 1 or not channels == groups == block.size:
        return None
    return carried(site, (block, None, None), lambda _value, base: exact(base))


def reduce(site: Site) -> Carried | None:
    """Mean or sum over axes other than the batch's and the channels'."""
    block = only(site)
    dims = argument(site.call.op, site.call.args, site.call.kwargs, "dim")
    if block is None or not dims:
        return None
    ndim = len(site.shape(site.call.args[0].index))
    gone = {dim % ndim for dim in dims}
    if gone & {0, block.dim}:
        return None
    keep = argument(site.call.op, site.call.args, site.call.kwargs, "keepdim")
    dim = block.dim if keep else block.dim - sum(g < block.dim for g in gone)
    return carried(site, (replace(block, dim=dim),), whole)


def depthwise(site: Site) -> Carried | None:
    """A convolution with one input channel per group, each giving as many output channels."""
    block = only(site)
    x, weight, _bias, stride, padding, dilation, transposed, _output_padding, groups = site.call.args
    if block is None or block.dim != 1 or transposed or groups != site.shape(x.index)[1]:
        return None
    per = site.shape(weight.index)[0] // groups
    moved = block.scaled(1, per)

    def changes(regions: Regions) -> tuple[Tensor]:
        filters = moved.region_along(exact(regions.base(weight.index)), 0)
        options = (stride, padding, dilation, False, [0] * len(stride), block.size)
        return (torch.ops.aten.convolution.default(regions.change(x.index), filters, None, *options),)

    return Carried((moved,), changes)


def cast(site: Site) -> Carried | None:
    """To another precision of real numbers."""
    block = only(site)
    dtype = site.call.kwargs.get("dtype")
    if block is None or (dtype is not None and not dtype.is_floating_point):
        return None
    return carried(site, (block,), whole)

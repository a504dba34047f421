"""Rules: operations that keep every channel's change in a block of its own (PerChannel to PerChannel), by operation.

A rule looks at shapes alone. It says where the blocks lie in each result, and how to compute the change; an operation
without a rule makes rows (Dense) and stays correct.
"""

from __future__ import annotations

from xaimed_core.tail.carry.linear import BATCH_NORMS
from xaimed_core.tail.carry.rules import channelwise, reshaping
from xaimed_core.tail.carry.rules.carrying import Carried, Regions, Rule, Site
from xaimed_core.tail.carry.rules.channelwise import is_pointwise

__all__ = ["Carried", "Regions", "Site", "carry", "is_pointwise"]


def carry(site: Site) -> Carried | None:
    """The rule for a call, applied; None where there is none or it does not hold here."""
    call = site.call
    if is_pointwise(call):
        return channelwise.pointwise(site)
    rule = RULES.get(call.name)
    return None if rule is None else rule(site)


RULES: dict[str, Rule] = {
    **dict.fromkeys(BATCH_NORMS, channelwise.batch_norm),
    "native_group_norm": channelwise.instance_norm,
    **dict.fromkeys(("mean", "sum"), channelwise.reduce),
    **dict.fromkeys(
        ("avg_pool1d", "adaptive_avg_pool1d", "upsample_nearest1d", "upsample_linear1d"),
        channelwise.spatial(1),
    ),
    **dict.fromkeys(
        ("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d"), channelwise.spatial(2)
    ),
    **dict.fromkeys(
        ("adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
        channelwise.spatial(2),
    ),
    **dict.fromkeys(("reflection_pad2d", "replication_pad2d"), channelwise.spatial(2)),
    **dict.fromkeys(
        ("max_pool3d_with_indices", "avg_pool3d", "_adaptive_avg_pool3d"), channelwise.spatial(3)
    ),
    **dict.fromkeys(("upsample_nearest3d", "upsample_trilinear3d"), channelwise.spatial(3)),
    "reshape": reshaping.reshape,
    "permute": reshaping.moves(reshaping.permute),
    "transpose": reshaping.moves(reshaping.transpose),
    "unsqueeze": reshaping.moves(reshaping.unsqueeze),
    "squeeze": reshaping.moves(reshaping.squeeze),
    **dict.fromkeys(
        ("select", "slice", "split", "split_with_sizes", "unbind"),
        reshaping.moves(reshaping.elsewhere("dim")),
    ),
    **dict.fromkeys(("flip", "roll"), reshaping.moves(reshaping.elsewhere("dims"))),
    "expand": reshaping.expand,
    "cat": reshaping.cat,
    "stack": reshaping.stack,
    "constant_pad_nd": reshaping.pad,
    "convolution": channelwise.depthwise,
    "_to_copy": channelwise.cast,
}
"""By the operation's name, never by the model's."""

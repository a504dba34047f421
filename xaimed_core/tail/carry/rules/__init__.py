"""Rules: operations that keep every channel's change in a block of its own (Chan to Chan), by operation.

A rule looks at shapes alone. It says where the blocks lie in each result, and how to compute the change; an operation
without a rule makes rows (Dense) and stays correct.
"""

from __future__ import annotations

from xaimed_core.tail.carry.linear import BATCH_NORMS
from xaimed_core.tail.carry.rules import moving, staying
from xaimed_core.tail.carry.rules.carrying import Carried, Regions, Rule, Site
from xaimed_core.tail.carry.rules.staying import is_pointwise

__all__ = ["Carried", "Regions", "Site", "carry", "is_pointwise"]


def carry(site: Site) -> Carried | None:
    """The rule for a call, applied; None where there is none or it does not hold here."""
    call = site.call
    if is_pointwise(call):
        return staying.pointwise(site)
    rule = RULES.get(call.name)
    return None if rule is None else rule(site)


RULES: dict[str, Rule] = {
    **dict.fromkeys(BATCH_NORMS, staying.batch_norm),
    **dict.fromkeys(("mean", "sum"), staying.reduce),
    **dict.fromkeys(
        ("avg_pool1d", "adaptive_avg_pool1d", "upsample_nearest1d", "upsample_linear1d"), staying.spatial(1)
    ),
    **dict.fromkeys(("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d"), staying.spatial(2)),
    **dict.fromkeys(
        ("adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
        staying.spatial(2),
    ),
    **dict.fromkeys(("reflection_pad2d", "replication_pad2d"), staying.spatial(2)),
    **dict.fromkeys(("max_pool3d_with_indices", "avg_pool3d", "_adaptive_avg_pool3d"), staying.spatial(3)),
    **dict.fromkeys(("upsample_nearest3d", "upsample_trilinear3d"), staying.spatial(3)),
    "reshape": moving.reshape,
    "permute": moving.moves(moving.permute),
    "transpose": moving.moves(moving.transpose),
    "unsqueeze": moving.moves(moving.unsqueeze),
    "squeeze": moving.moves(moving.squeeze),
    **dict.fromkeys(
        ("select", "slice", "split", "split_with_sizes", "unbind"), moving.moves(moving.elsewhere("dim"))
    ),
    **dict.fromkeys(("flip", "roll"), moving.moves(moving.elsewhere("dims"))),
    "expand": moving.expand,
    "cat": moving.cat,
    "stack": moving.stack,
    "constant_pad_nd": moving.pad,
    "convolution": staying.depthwise,
    "_to_copy": staying.cast,
}
"""By the operation's name, never by the model's."""

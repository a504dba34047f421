"""Launching the kernel of ``weighted_map``: tile sizes, splits, scratch."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.launching import (
    ceil_div,
    launch,
    needs_wide_offsets,
    power_of_two,
    splits_for,
)
from xaimed_kernels.weighted_map.kernel import weighted_map_kernel

VALUES = 512
"""Values of a tile: 16 per thread of one warp, enough loads in flight, few registers."""


def weighted_map_triton(activations: Tensor, weights: Tensor) -> Tensor:
    """Shapes as :func:`weighted_map`. Two launches: the kernel, and the sum over its splits."""
    a, w = activations.flatten(2), weights.reshape(*weights.shape[:2], -1).expand_as(activations.flatten(2))
    n, c, s = a.shape
    block_c, block_s = tile_for(s, c, channels_adjacent=a.stride(1) == 1 and s > 1)
    tiles = ceil_div(s, block_s)
    splits = splits_for(n * tiles, ceil_div(c, block_c), warps=1, device=a.device)
    partial = torch.empty(splits, n, s, device=a.device)
    launch(
        weighted_map_kernel, n * splits * tiles, a, *a.stride(), w, *w.stride(), partial, n, c, s, splits,
        BLOCK_C=block_c, BLOCK_S=block_s, WIDE=needs_wide_offsets((block_c, block_s), a, w), warps=1,
    )  # fmt: skip
    raw = partial.sum(0) if splits > 1 else partial[0]
    return raw.unflatten(1, activations.shape[2:])


def tile_for(positions: int, channels: int, *, channels_adjacent: bool) -> tuple[int, int]:
    """Channels and positions of a tile: long along the axis that is adjacent in memory.

    32 positions are a 128-byte line of float32 (64 where four can be loaded at once); adjacent channels
    (channels_last) are taken 32 at a time for the same reason.
    """
    if channels_adjacent:
        block_c = min(32, power_of_two(channels))
        return block_c, min(VALUES // block_c, power_of_two(positions))
    block_s = min(64, power_of_two(positions))
    return min(VALUES // block_s, power_of_two(channels)), block_s

"""Launching the kernel of ``gradient_maps``: tile sizes, splits, scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from xaimed_kernels.gradient_maps.cpu import gradient_maps_in_blocks
from xaimed_kernels.gradient_maps.formula import Formula, GradientMaps
from xaimed_kernels.gradient_maps.kernel import gradient_maps_kernel
from xaimed_kernels.gradient_maps.triton_formula import triton_formula
from xaimed_kernels.launching import ceil_div, launch, needs_wide_offsets, power_of_two, splits_for

LARGEST = 1 << 14
"""Positions of a channel that one tile holds: 112 x 112 and a quarter more. Larger ones (volumes) are no case
for one tile's registers; they take the blocked torch path, on their device."""

VOLUME_BLOCK = 1 << 26
"""Values per block of that path: temporaries of 256 MiB, few launches."""


@final
@dataclass(frozen=True)
class Tile:
    """``[rows, channels, lanes]`` values in ``warps`` warps; ``rows * lanes`` is at least the positions."""

    rows: int
    channels: int
    lanes: int
    warps: int


def gradient_maps_triton(
    activations: Tensor, gradients: Tensor, formulas: tuple[Formula, ...]
) -> GradientMaps:
    """Shapes as :func:`gradient_maps`. Two launches: the kernel, and the sum over its splits."""
    a, g = activations.flatten(2), gradients.flatten(2)
    n, c, s = a.shape
    if s > LARGEST:
        return gradient_maps_in_blocks(activations, gradients, formulas, VOLUME_BLOCK)
    if reads_across_channels(a):
        a, g = a.contiguous(), g.contiguous()
    tile = tile_for(s, c, len(formulas), channels_adjacent=a.stride(1) == 1 and s > 1)
    splits = splits_for(n, ceil_div(c, tile.channels), warps=tile.warps, device=a.device)
    rows = weight_rows(formulas)
    partial = torch.empty(splits, len(formulas), n, s, device=a.device)
    weights = torch.empty(max(rows) + 1, n, c, device=a.device)
    launch(
        gradient_maps_kernel, n * splits, a, *a.stride(), g, *g.stride(), partial, weights, n, c, s, splits,
        formulas=tuple(triton_formula(formula) for formula in formulas), weight_rows=rows,
        ROWS=tile.rows, BLOCK_C=tile.channels, LANES=tile.lanes,
        WIDE=needs_wide_offsets((tile.channels, tile.rows * tile.lanes), a, g), warps=tile.warps,
    )  # fmt: skip
    maps = partial.sum(0) if splits > 1 else partial[0]
    kept = tuple(weights[row] if row >= 0 else None for row in rows)
    return GradientMaps(maps.unflatten(2, activations.shape[2:]), kept)


def tile_for(positions: int, channels: int, formulas: int, *, channels_adjacent: bool) -> Tile:
    """16 values per thread and tensor (8 above 4 formulas): a, g and a sum per formula fit 128 registers.

    Up to 128 positions a warp covers 8 lanes x 4 channels, so that a total over positions takes 3 shuffles for
    4 channels instead of 5 for one, and a program is one warp: its totals cross no warps. Where channels are
    adjacent in memory (channels_last) a tile has at least 8 of them, a 32-byte sector of float32.
    """
    whole = power_of_two(positions)
    lanes = whole if positions > 128 else min(whole, 8)
    values = 32 * (16 if formulas <= 4 else 8)
    fitting = max(8 if channels_adjacent else 1, values // whole)
    block_c = min(fitting, power_of_two(channels))
    warps = min(32, max(1, block_c * whole // values))
    return Tile(whole // lanes, block_c, lanes, warps)


def reads_across_channels(a: Tensor) -> bool:
    """Whether channels are adjacent (channels_last) and positions too many for a tile of 8 channels.

    A tile of one channel would fetch a 32-byte sector for each 4-byte value; a copy moves 3 times the bytes.
    """
    return a.stride(1) == 1 and a.stride(2) != 1 and a.shape[2] > 1024


def weight_rows(formulas: tuple[Formula, ...]) -> tuple[int, ...]:
    """For each formula the row of its weights among the per-channel ones, -1 where it has none."""
    seen = 0
    rows: list[int] = []
    for formula in formulas:
        rows.append(seen if formula.per_channel else -1)
        seen += formula.per_channel
    return tuple(rows)

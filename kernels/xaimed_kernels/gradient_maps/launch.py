"""Launching the kernel of ``gradient_maps``: tile sizes, splits, scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from math import gcd
from typing import Any, final

import torch
from torch import Tensor

from xaimed_kernels.gradient_maps.cpu import gradient_maps_in_blocks
from xaimed_kernels.gradient_maps.formula import Formula, GradientMaps
from xaimed_kernels.gradient_maps.kernel import gradient_maps_kernel
from xaimed_kernels.gradient_maps.triton_formula import triton_formula
from xaimed_kernels.launching import ceil_div, launch, needs_wide_offsets, power_of_two
from xaimed_kernels.occupancy import slots_for, splits_to_fill

LARGEST = 1 << 14
"""Positions of a channel that one tile holds: 112 x 112 and a quarter more. Larger ones (volumes) are no case
for one tile's registers; they take the blocked torch path, on their device."""

VOLUME_BLOCK = 1 << 26
"""Values per block of that path: temporaries of 256 MiB, few launches."""


@final
@dataclass(frozen=True)
class Tile:
    """``[rows, channels, lanes]`` values in ``warps`` warps; ``rows * lanes`` is at least the positions.

    ``vector``: adjacent values that a thread loads at once, where strides allow it. ``fold``: whether it adds such
    values up (they are of adjacent channels) before they go to the maps.
    """

    rows: int
    channels: int
    lanes: int
    warps: int
    vector: int
    fold: bool = False

    def pieces(self, positions: int) -> tuple[tuple[int, int, bool], ...]:
        """Of each piece its first row, its rows (a binary digit of ``rows``), and whether positions end inside."""
        sizes = [1 << bit for bit in reversed(range(self.rows.bit_length())) if self.rows >> bit & 1]
        first = (0, *accumulate(sizes))
        return tuple(
            (row, size, (row + size) * self.lanes > positions)
            for row, size in zip(first, sizes, strict=False)
        )


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
    tile = tile_of(a, len(formulas))
    unit_c, unit_s = units_of(a, g, most=tile.vector)
    pieces, rows = tile.pieces(s), weight_rows(formulas)
    settings: dict[str, Any] = {
        "formulas": tuple(triton_formula(formula, len(pieces)) for formula in formulas),
        "weight_rows": rows, "PIECES": pieces, "BLOCK_C": tile.channels, "LANES": tile.lanes,
        "UNIT_C": unit_c, "UNIT_S": unit_s, "FOLD": unit_s if tile.fold else 1, "EVEN": c % tile.channels == 0,
        "WIDE": needs_wide_offsets((tile.channels, tile.rows * tile.lanes), a, g), "warps": tile.warps,
    }  # fmt: skip
    weights = torch.empty(max(rows) + 1, n, c, device=a.device)
    read = (a, *a.stride(), g, *g.stride())
    slots = slots_for(gradient_maps_kernel, *read, weights, weights, n, c, s, 1, device=a.device, **settings)
    splits = splits_to_fill(n, ceil_div(c, tile.channels), slots)
    partial = torch.empty(splits, len(formulas), n, s, device=a.device)
    launch(gradient_maps_kernel, n * splits, *read, partial, weights, n, c, s, splits, **settings)
    maps = partial.sum(0) if splits > 1 else partial[0]
    kept = tuple(weights[row] if row >= 0 else None for row in rows)
    return GradientMaps(maps.unflatten(2, activations.shape[2:]), kept)


def tile_of(a: Tensor, formulas: int) -> Tile:
    """The tile for activations ``[n, c, s]``."""
    _, channels, positions = a.shape
    if a.stride(1) == 1 and positions > 1:
        return tile_across(positions, channels, formulas, narrow=a.element_size() < 4)
    return tile_along(positions, channels, formulas)


def tile_along(positions: int, channels: int, formulas: int) -> Tile:
    """Where positions are adjacent: up to 8 rows (4 above 4 formulas), at least 8 lanes, 4 values a load.

    A thread holds at most 32 values of a, as many of g and of each formula's sums (16 above 4 formulas). With 8 rows
    the positions of a power of two less one eighth, 49 of 64, leave one row out. Up to 8 x 8 positions a warp covers
    8 lanes x 4 channels, so that a total takes 3 shuffles for 4 channels instead of 5 for one; up to 28 x 28 a program
    is one warp, and its totals cross no warps.
    """
    most_rows, values = (8, 32 * 32) if formulas <= 4 else (4, 32 * 16)
    whole = power_of_two(positions)
    lanes = min(whole, max(8, whole // most_rows))
    rows = ceil_div(positions, lanes)
    size = power_of_two(rows) * lanes
    if whole < 8:  # a channel lies within a thread, whose totals and weights are values of their own
        values //= 4
    block_c = min(max(1, values // size), power_of_two(channels))
    return Tile(rows, block_c, lanes, min(32, max(1, block_c * size // values)), vector=4)


def tile_across(positions: int, channels: int, formulas: int, *, narrow: bool) -> Tile:
    """Where channels are adjacent (channels_last): 16 channels, whole sectors of 32 bytes for ``narrow`` values too.

    A warp covers 8 pairs of channels x 4 positions: totals take 2 shuffles. Beyond 16 x 16 positions such a tile would
    have 16 warps, of half the registers each: wide values take 8 channels instead, narrow ones 4 channels a thread,
    folded.
    """
    values = 32 * (32 if formulas <= 4 else 16)
    whole = power_of_two(positions)
    tile = _tile_across(positions, min(16, power_of_two(channels)), values, lanes=whole * 64 // values)
    if tile.warps <= 8:
        return tile
    if narrow and formulas <= 4:
        return replace(_tile_across(positions, tile.channels, values, lanes=whole // 8), vector=4, fold=True)
    return _tile_across(positions, min(8, tile.channels), values, lanes=whole * 64 // values)


def _tile_across(positions: int, block_c: int, values: int, *, lanes: int) -> Tile:
    lanes = min(power_of_two(positions), max(4, lanes))
    rows = ceil_div(positions, lanes)
    warps = block_c * lanes * power_of_two(rows) // values
    return Tile(rows, block_c, lanes, min(32, max(1, warps)), vector=2)


def units_of(*tensors: Tensor, most: int) -> tuple[int, int]:
    """What divides the strides of n and c (and the positions), and what those of n and s, up to ``most``.

    Triton knows of a stride only whether 16 divides it; 196, of 14 x 14 positions, would leave loads of single values.
    """
    if all(tensor.stride(2) == 1 for tensor in tensors):
        return gcd(most, *(size for t in tensors for size in (t.stride(0), t.stride(1), t.shape[2]))), 1
    if all(tensor.stride(1) == 1 for tensor in tensors):
        return 1, gcd(most, *(size for t in tensors for size in (t.stride(0), t.stride(2))))
    return 1, 1


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

"""Launching the kernels of ``rescale_maps``."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.launching import ceil_div, launch, power_of_two
from xaimed_kernels.rescale_maps.kernel import aggregated_extent_kernel, rescaled_maps_kernel
from xaimed_kernels.rescale_maps.reference import RescaledMaps, rounding

BLOCK, WARPS = 1024, 4
"""Pixels and warps of a program: 8 pixels a thread, 49 programs for 224 x 224, so one image fills part of a
GPU and 3 fill it; a smaller block would repeat the reading of the layers' extent more often."""


def rescale_maps_triton(layers: tuple[Tensor, ...], size: tuple[int, ...], eps: float) -> RescaledMaps:
    """Shapes as :func:`rescale_maps`, maps of two dimensions. Two launches, and one that joins layers."""
    n, device = len(layers[0]), layers[0].device
    flat = [raw.reshape(n, -1) for raw in layers]
    raws = flat[0].contiguous() if len(flat) == 1 else torch.cat(flat, 1)
    sizes = tuple(side for raw in layers for side in raw.shape[1:])
    height, width = size
    tiles = ceil_div(height * width, BLOCK)
    lows, highs = torch.empty(2, n, tiles, device=device)
    maps = torch.empty(n, height, width, device=device)
    empty, finite = torch.empty(2, n, dtype=torch.int8, device=device)
    launch(
        aggregated_extent_kernel, n * tiles, raws, raws.stride(0), sizes, lows, highs,
        height, width, tiles, float(eps), LAYERS=len(layers), BLOCK=BLOCK, warps=WARPS,
    )  # fmt: skip
    launch(
        rescaled_maps_kernel, n * tiles, raws, raws.stride(0), sizes, lows, highs, maps, empty, finite,
        height, width, tiles, float(eps), rounding(torch.float32), LAYERS=len(layers), BLOCK=BLOCK,
        BLOCK_TILES=power_of_two(tiles), warps=WARPS,
    )  # fmt: skip
    return RescaledMaps(maps, empty.view(torch.bool), finite.view(torch.bool))

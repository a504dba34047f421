"""Launching the kernels of ``rescale_maps``."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_kernels.launching import apart, ceil_div, launch, power_of_two
from xaimed_kernels.rescale_maps.kernel import image_kernel, rescaled_maps_kernel
from xaimed_kernels.rescale_maps.reference import RescaledMaps, rounding

BLOCK, WARPS = 1024, 4
"""Pixels and warps of a program that writes maps: 8 pixels a thread, 49 programs for 224 x 224. Its tile has 32 rows,
where there are so many: then 7 x 7 tiles are 224 x 224 without a rest."""

IMAGE_WARPS = 8
"""Warps of the program that each image has once."""

SEAMS = 2
"""Rows (or columns) to look at for each of a single layer, see `pixel_to_look_at`."""


def rescale_maps_triton(layers: tuple[Tensor, ...], size: tuple[int, ...], eps: float) -> RescaledMaps:
    """Shapes as :func:`rescale_maps`, maps of two dimensions. Two launches, and one that joins layers."""
    n, device = len(layers[0]), layers[0].device
    flat = [raw.reshape(n, -1) for raw in layers]
    raws = flat[0].contiguous() if len(flat) == 1 else torch.cat(flat, 1)
    sizes = tuple(side for raw in layers for side in raw.shape[1:])
    (height, width), positions = size, raws.shape[1]
    block_y = min(32, power_of_two(height))
    block_x = min(BLOCK // block_y, power_of_two(width))
    single = len(layers) == 1
    count_y, count_x = (
        min(SEAMS * of, all_) if single else all_ for of, all_ in zip(sizes, size, strict=False)
    )
    unit = torch.empty(n, positions, device=device)
    lows, highs = apart(2, n, device=device)
    maps = torch.empty(n, height, width, device=device)
    empty, finite = apart(2, n, device=device, dtype=torch.int8)
    launch(
        image_kernel, n, raws, raws.stride(0), sizes, unit, lows, highs, empty, finite, positions, height, width,
        count_y, count_x, float(eps), rounding(torch.float32), LAYERS=len(layers), BLOCK=BLOCK, BLOCK_Y=block_y,
        BLOCK_X=block_x, warps=IMAGE_WARPS,
    )  # fmt: skip
    launch(
        rescaled_maps_kernel, n * ceil_div(height, block_y) * ceil_div(width, block_x), unit, sizes, lows, highs,
        empty, finite, maps, positions, height, width, float(eps), LAYERS=len(layers), BLOCK_Y=block_y,
        BLOCK_X=block_x, warps=WARPS,
    )  # fmt: skip
    return RescaledMaps(maps, empty.view(torch.bool), finite.view(torch.bool))

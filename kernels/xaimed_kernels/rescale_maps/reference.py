"""The definition of ``rescale_maps``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from xaimed_kernels.backends import working_dtype


@final
@dataclass(frozen=True)
class RescaledMaps:
    """Maps ready to be shown, and what is to be known about each image's.

    ``maps [n, *size]`` in [0, 1] (NaN throughout where not ``finite``). ``empty [n]``: the map is 0
    everywhere, for nothing was positive, or all of it equally. ``finite [n]``: no raw map of this image holds
    NaN or infinity.
    """

    maps: Tensor
    empty: Tensor
    finite: Tensor


def rescale_maps_reference(layers: tuple[Tensor, ...], size: tuple[int, ...], eps: float) -> RescaledMaps:
    """ReLU, min-max, resize for each layer; mean; min-max. Shapes as :func:`rescale_maps`."""
    raws = [raw.to(working_dtype(raw.dtype)) for raw in layers]
    finite = torch.stack([raw.isfinite().flatten(1).all(1) for raw in raws]).all(0)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    resized = [
        interpolate(_min_max(raw.relu(), eps).unsqueeze(1), size, mode=mode, align_corners=False).squeeze(1)
        for raw in raws
    ]
    aggregated = torch.stack(resized).mean(0)
    pixels = aggregated.flatten(1)
    empty = (pixels.amax(1) == pixels.amin(1)) & finite
    maps = _min_max(aggregated, eps)
    return RescaledMaps(maps.where(_per_map(finite, maps), torch.nan), empty, finite)


def _min_max(maps: Tensor, eps: float) -> Tensor:
    """Each map of ``[n, *spatial]`` from 0 to its largest value over ``eps +`` that value."""
    shifted = maps - _per_map(maps.flatten(1).amin(1), maps)
    extent = _per_map(shifted.flatten(1).amax(1), maps) + eps
    return shifted / extent.where(extent > 0, 1.0)


def _per_map(values: Tensor, maps: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (maps.ndim - 1))

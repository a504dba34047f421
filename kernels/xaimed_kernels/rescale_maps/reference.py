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
        interpolate(min_max(raw.relu(), eps)[0].unsqueeze(1), size, mode=mode, align_corners=False).squeeze(1)
        for raw in raws
    ]
    aggregated = torch.stack(resized).mean(0)
    maps, empty = min_max(aggregated, eps, rounding(aggregated.dtype))
    return RescaledMaps(maps.where(_per_map(finite, maps), torch.nan), empty & finite, finite)


def rounding(dtype: torch.dtype) -> float:
    """The part of its largest pixel that an aggregated map may vary by though it is constant.

    Pixels are sums of products by interpolation weights, right to a few last digits: min-max of what lies below would
    show their noise.
    """
    return 8 * torch.finfo(dtype).eps


def min_max(maps: Tensor, eps: float = 0.0, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Each map of ``[n, *spatial]`` from 0 to its largest value over ``eps +`` that value, and which are constant.

    A map that varies by no more than ``noise`` times its largest value is constant, and 0.
    """
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)
    constant = high - low <= noise * high
    shifted = (maps - _per_map(low, maps)).where(~_per_map(constant, maps), 0.0)
    return shifted / _per_map((high - low + eps).where(~constant, 1.0), maps), constant


def _per_map(values: Tensor, maps: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (maps.ndim - 1))

"""Where the peak of a map lies, and where its mass does."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from xaimed_core.localisation.regions import Regions


def peak_inside(regions: Regions, tolerance: float) -> Tensor:
    """1 where the map's maximum is at most ``tolerance`` pixels from the lesion, else 0: ``[n]``.

    Of several maxima the part that is, as if one was drawn: a constant map hits by chance.
    """
    maps = regions.maps
    top = maps == maps.amax((1, 2), keepdim=True)
    image, y, x = top.nonzero(as_tuple=True)
    hits = maps.new_zeros(len(maps)).index_add_(
        0, image, _near(regions.lesions, image, y, x, tolerance).to(maps)
    )
    return hits / top.sum((1, 2))


def mass_inside(regions: Regions) -> Tensor:
    """The part of the map's positive values that lies in the lesion, ``[n]``; without any, the lesion's share."""
    mass = regions.maps.clamp_min(0)
    total, inside = _sums(mass), _sums(mass.masked_fill(~regions.lesions, 0.0))
    return torch.where(total > 0, inside / total, regions.share)


def _sums(values: Tensor) -> Tensor:
    """Of each image, ``[n]``: rows as they are, and these in float64, which copies a row's part of the image only."""
    return values.sum(2).sum(1, dtype=torch.float64)


def _near(lesions: Tensor, image: Tensor, y: Tensor, x: Tensor, tolerance: float) -> Tensor:
    """Whether a lesion's pixel lies within ``tolerance`` of pixel (y, x) of each ``image [m]``: row by row."""
    height, width = lesions.shape[1:]
    before = functional.pad(lesions.cumsum(2, dtype=torch.int32), (1, 0))  # lesion pixels left of a column
    reach = int(min(tolerance, height))
    found = torch.zeros_like(image, dtype=torch.bool)
    for dy in range(-reach, reach + 1):
        dx = int(min(math.sqrt(tolerance**2 - dy**2), width))
        row = (y + dy).clamp(0, height - 1)
        left, right = (x - dx).clamp_min(0), (x + dx + 1).clamp_max(width)
        found |= (row == y + dy) & (before[image, row, right] > before[image, row, left])
    return found

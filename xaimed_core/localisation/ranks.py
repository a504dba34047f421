"""How a map orders pixels: what depends on nothing else, so that any increasing function of the map scores the same."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_core.localisation.regions import Regions


def rank_accuracy(regions: Regions) -> Tensor:
    """The part of the lesion's k pixels among the map's k greatest, ``[n]``.

    Ties at the last of these share its places, so that a constant map has the lesion's share.
    """
    size, pixels = regions.size, regions.pixels
    least = regions.ascending.gather(1, (pixels - size).clamp_max(pixels - 1))
    below, own_below = regions.below(least)
    upto, own_upto = regions.below(least, or_equal=True)
    places = size - (pixels - upto)  # for those that tie
    hits = (size - own_upto) + places.double() * (own_upto - own_below) / (upto - below)
    return (hits / size).squeeze(1)


def roc_auc(regions: Regions) -> Tensor:
    """How often a pixel of the lesion is above one that is not, a tie counting half, ``[n]``; 0.5 if all tie."""
    below, own_below = regions.below(regions.inside)
    upto, own_upto = regions.below(regions.inside, or_equal=True)
    twice = (below - own_below) + (upto - own_upto)  # of the healthy pixels
    return _of_lesion(regions, twice).sum(1) / (2 * regions.size * (regions.pixels - regions.size)).squeeze(1)


def average_precision(regions: Regions) -> Tensor:
    """The mean, over the lesion's pixels, of the lesion's part of all pixels at or above that pixel, ``[n]``.

    It is scikit-learn's average precision, sum over thresholds of (R_k - R_(k-1)) P_k. A constant map has the
    lesion's share.
    """
    below, own_below = regions.below(regions.inside)
    precision = (regions.size - own_below).double() / (regions.pixels - below)
    return _of_lesion(regions, precision).sum(1) / regions.size.squeeze(1)


def _of_lesion(regions: Regions, values: Tensor) -> Tensor:
    """Float64 values of `Regions.inside`, 0 behind those of the lesion."""
    place = torch.arange(values.shape[1], device=values.device)
    return values.double().masked_fill(place >= regions.size, 0.0)

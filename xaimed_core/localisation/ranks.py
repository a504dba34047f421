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
    below = torch.searchsorted(regions.ascending, regions.inside)
    upto = torch.searchsorted(regions.ascending, regions.inside, right=True)
    size = regions.size.squeeze(1)
    twice = (
        _of_lesion(regions, below + upto).sum(1) - size**2
    )  # the lesion's own pixels: each pair of them once
    return twice.double() / (2 * size * (regions.pixels - size))


def average_precision(regions: Regions) -> Tensor:
    """The mean, over the lesion's pixels, of the lesion's part of all pixels at or above that pixel, ``[n]``.

    It is scikit-learn's average precision, sum over thresholds of (R_k - R_(k-1)) P_k. A constant map has the
    lesion's share.
    """
    below, own_below = regions.below(regions.inside)
    precision = (regions.size - own_below).double() / (regions.pixels - below)
    return _of_lesion(regions, precision).sum(1) / regions.size.squeeze(1)


def _of_lesion(regions: Regions, values: Tensor) -> Tensor:
    """What was found for `Regions.inside`, 0 behind the values of the lesion."""
    place = torch.arange(values.shape[1], device=values.device)
    return values.masked_fill(place >= regions.size, 0)

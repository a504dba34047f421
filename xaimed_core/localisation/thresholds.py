"""Where a map is cut into lesion and background, and how well the parts overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from xaimed_core.localisation.door import MapsLike, regions_of
from xaimed_core.localisation.regions import Regions
from xaimed_core.numbers_given import is_real

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Those that cheXlocalize chooses from (Saporta et al. 2022)."""

LEVELS = 256
"""Of the histogram, as in an image of 8 bits."""


def iou_at(regions: Regions, thresholds: Sequence[float]) -> Tensor:
    """IoU of the lesion and what is above each threshold, float64 ``[n, t]``, as `ious`."""
    cuts = regions.at(regions.maps.new_tensor(thresholds))
    return _iou(regions, *regions.below(cuts, or_equal=True))


def iou_at_otsu(regions: Regions) -> Tensor:
    """IoU of the lesion and what Otsu's threshold marks, float64 ``[n]``; a constant map marks nothing.

    Otsu 1979: the cut with the largest variance between the two parts, of 256 levels from the map's least value to its
    greatest; the lowest such cut.
    """
    steps = torch.arange(1, LEVELS, device=regions.maps.device, dtype=regions.maps.dtype) / (LEVELS - 1)
    below, own_below = regions.below(regions.at(steps))
    total = torch.full_like(below[:, :1], regions.pixels)
    counts = torch.cat([below, total], 1).diff(dim=1, prepend=torch.zeros_like(total)).double()
    levels = torch.arange(LEVELS, device=counts.device, dtype=counts.dtype)
    low = below.double() / regions.pixels  # the weight of what is below each cut
    moment = (counts * levels).cumsum(1) / regions.pixels
    between = (moment[:, -1:] * low - moment[:, :-1]) ** 2 / (low * (1 - low))
    best = between.nan_to_num(nan=-1.0, posinf=-1.0).argmax(1, keepdim=True)
    varies = regions.ascending[:, :1] < regions.ascending[:, -1:]
    cut = torch.where(varies, below.gather(1, best), total)
    own = torch.where(varies, own_below.gather(1, best), regions.size)
    return _iou(regions, cut, own).squeeze(1)


def ious(
    maps: MapsLike, lesions: Tensor, thresholds: Sequence[float] = THRESHOLDS, *, method: str | None = None
) -> Tensor:
    """IoU of each lesion and of what its map marks at each threshold, float32 ``[n, t]``.

    ``thresholds``: parts of the way from a map's least value, 0, to its greatest, 1; what is above is marked. So a
    constant map marks nothing. NaN where `evaluate_localisation` has a reason. The rest, and errors, as there.
    """
    regions, reasons = regions_of(maps, lesions, method)
    found = iou_at(regions, check_thresholds(thresholds)).float()
    unusable = torch.tensor([bool(reason) for reason in reasons], device=found.device)
    return found.masked_fill(unusable[:, None], torch.nan)


def best_threshold(
    maps: MapsLike, lesions: Tensor, thresholds: Sequence[float] = THRESHOLDS, *, method: str | None = None
) -> float:
    """The one threshold with the best mean IoU (Saporta et al. 2022), the lowest of equals; find it on validation.

    Arguments as `ious`, which serves where validation comes in parts: the threshold is that of
    ``torch.cat(parts).nanmean(0).argmax()``. Raises ValueError where no lesion can be scored, else as `ious`.
    """
    mean = ious(maps, lesions, thresholds, method=method).nanmean(0)
    if bool(mean.isnan().all()):
        raise ValueError(
            "no lesion can be scored: each is empty or its whole image, or its map is not finite"
        )
    return float(thresholds[int(mean.argmax())])


def check_thresholds(thresholds: Any) -> tuple[float, ...]:
    """The thresholds as numbers. Raises ValueError unless all are in [0, 1] and there is at least one."""
    listed = list(thresholds) if isinstance(thresholds, Sequence) else []
    real = [float(part) for part in listed if is_real(part) and 0 <= part <= 1]
    if not listed or len(real) < len(listed):
        raise ValueError(f"thresholds must be parts of a map's range, e.g. (0.2, 0.5), got {thresholds!r}")
    return tuple(real)


def _iou(regions: Regions, unmarked: Tensor, own_unmarked: Tensor) -> Tensor:
    """From how many pixels of the image ``[n, t]``, and of the lesion, are not marked."""
    shared = regions.size - own_unmarked
    return shared.double() / (regions.pixels - unmarked + regions.size - shared)

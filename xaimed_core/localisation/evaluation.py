"""`evaluate_localisation`: all metrics of a batch of maps at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.localisation.door import MapsLike, regions_of
from xaimed_core.localisation.metric import (
    LOCALISATION,
    LocalisationMetric,
    Options,
    localisation_metric,
)
from xaimed_core.localisation.thresholds import check_thresholds
from xaimed_core.numbers_given import is_real

TOLERANCE = 15
"""Pixels, as Zhang et al. 2018 play the pointing game; cheXlocalize plays it with 0."""


@final
class Localisation(dict[str, Tensor]):
    """Values by metric, float32 ``[n]``, and ``reasons [n]``: "", or why an image has NaN in every metric."""

    def __init__(self, values: Mapping[str, Tensor], reasons: tuple[str, ...]) -> None:
        super().__init__(values)
        self.reasons = reasons

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {float(values.nanmean()):.3f}" for name, values in self.items())
        return f"{means} on average over {self.reasons.count('')} of {len(self.reasons)} images"


@torch.no_grad()
def evaluate_localisation(
    maps: MapsLike,
    lesions: Tensor,
    *,
    method: str | None = None,
    metrics: str | Sequence[str | LocalisationMetric] = tuple(LOCALISATION),
    tolerance: float = TOLERANCE,
    threshold: float = 0.5,
) -> Localisation:
    """How well ``maps [n, h, w]`` (higher: more relevant) find ``lesions [n, h, w]`` (bool), on their device.

    ``maps``: an `Explanation` (``method`` says which of its maps, where there are several), or a plain tensor of the
    lesions' size: neither is resized. ``metrics``: names of `LOCALISATION`, whose papers and readings stand there.
    ``tolerance``: pixels around the lesion in which the pointing game still hits. ``threshold``: of "iou", a part of
    the way from a map's least value to its greatest; `best_threshold` finds one on validation. Constant maps score
    what knowing nothing does, see ``knows_nothing``. An image whose lesion is empty or everything, or whose map is not
    finite, has NaN and a reason; the others are scored.

    Raises ValueError or TypeError that say what was wrong.
    """
    listed = (metrics,) if isinstance(metrics, str) else metrics
    chosen = [localisation_metric(metric) for metric in listed]
    options = Options(_checked(tolerance), *check_thresholds((threshold,)))
    regions, reasons = regions_of(maps, lesions, method)
    unusable = torch.tensor([bool(reason) for reason in reasons], device=regions.maps.device)
    values = {
        metric.name: metric.measure(regions, options).float().masked_fill(unusable, torch.nan)
        for metric in chosen
    }
    return Localisation(values, reasons)


def _checked(tolerance: Any) -> float:
    if not (is_real(tolerance) and 0 <= tolerance < math.inf):
        raise ValueError(f"tolerance must be a number of pixels of at least 0, got {tolerance!r}")
    return float(tolerance)

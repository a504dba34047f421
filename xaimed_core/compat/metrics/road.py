"""As ``pytorch_grad_cam.metrics.road``: ROAD's imputer and its averages over percentiles.

Percentile P removes the top (100 - P) percent, or, least relevant first, the lowest; ties go together, as there.
``noise``, which grad-cam fixes at 0.01, may be given to every class; it is drawn from torch's random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.compat.metrics.perturbation_confidence import (
    AveragerAcrossThresholds,
    Percentile,
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
    Scores,
)
from xaimed_core.faithfulness.removal import check_noise
from xaimed_core.targets import ScoreFunction
from xaimed_kernels.impute import impute

DEFAULT_PERCENTILES = (10, 20, 30, 40, 50, 60, 70, 80, 90)


class NoisyLinearImputer:
    """Fill what ``mask`` (1: stays, 0: goes) lacks with the weighted mean of its neighbours, plus noise.

    Where nothing stays, the image becomes 0 and noise. ``noise`` is a standard deviation in the images' units.
    """

    def __init__(self, noise: float = 0.01) -> None:
        check_noise(noise)
        self.noise = noise

    def __call__(self, img: Tensor, mask: Tensor) -> Tensor:
        """One image ``[c, h, w]`` with its mask ``[h, w]``."""
        return self.batched(img[None], mask[None])[0]

    def batched(self, images: Tensor, cams: Tensor) -> Tensor:
        """Images ``[n, c, h, w]`` with their masks ``[n, h, w]``."""
        return impute(images, cams > 0.5, noise=self.noise)


class ROADMostRelevantFirst(PerturbationConfidenceMetric):
    """The change of the score when the most relevant pixels go; negative: they mattered."""

    def __init__(self, percentile: Percentile = 80, noise: float = 0.01) -> None:
        super().__init__(RemoveMostRelevantFirst(percentile, NoisyLinearImputer(noise)))


class ROADLeastRelevantFirst(PerturbationConfidenceMetric):
    """The change of the score when the least relevant pixels go; near 0 or positive is good."""

    def __init__(self, percentile: Percentile = 20, noise: float = 0.01) -> None:
        super().__init__(RemoveLeastRelevantFirst(percentile, NoisyLinearImputer(noise)))


class ROADMostRelevantFirstAverage(AveragerAcrossThresholds):
    """The mean change over percentiles, most relevant first; negative: the removed pixels mattered."""

    def __init__(self, percentiles: Sequence[Percentile] = DEFAULT_PERCENTILES, noise: float = 0.01) -> None:
        super().__init__(partial(ROADMostRelevantFirst, noise=noise), percentiles)


class ROADLeastRelevantFirstAverage(AveragerAcrossThresholds):
    """The mean change over percentiles, least relevant first; near 0 or positive is good."""

    def __init__(self, percentiles: Sequence[Percentile] = DEFAULT_PERCENTILES, noise: float = 0.01) -> None:
        super().__init__(partial(ROADLeastRelevantFirst, noise=noise), percentiles)


class ROADCombined:
    """(least - most relevant first) / 2 over percentiles: positive is good. The score before cancels out."""

    def __init__(self, percentiles: Sequence[Percentile] = DEFAULT_PERCENTILES, noise: float = 0.01) -> None:
        self.percentiles = percentiles
        self.morf_averager = ROADMostRelevantFirstAverage(percentiles, noise)
        self.lerf_averager = ROADLeastRelevantFirstAverage(percentiles, noise)

    def __call__(
        self, input_tensor: Tensor, cams: NDArray[Any], targets: Sequence[ScoreFunction], model: nn.Module
    ) -> Scores:
        """Scores ``[n]``."""
        arguments = (input_tensor, cams, targets, model)
        return (self.lerf_averager.after(*arguments) - self.morf_averager.after(*arguments)) / np.float32(2)

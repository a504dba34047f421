"""As ``pytorch_grad_cam.metrics.arcc``: complexity, coherency and ROAD in one number (arXiv 2605.14641)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.compat.metrics.perturbation_confidence import Percentile
from xaimed_core.compat.metrics.road import ROADCombined
from xaimed_core.targets import ScoreFunction

EPS = 1e-8


def batch_pearson_coherency(A: NDArray[Any], B: NDArray[Any]) -> NDArray[Any]:
    """Pearson's correlation ``[n]`` of maps with maps."""
    a, b = (maps.reshape(len(maps), -1) for maps in (A, B))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    free = a.shape[1] - 1
    covariance = (a * b).sum(axis=1) / free
    spread = np.sqrt((a**2).sum(axis=1) / free) * np.sqrt((b**2).sum(axis=1) / free)
    return covariance / (spread + EPS)


class Complexity:
    """The mean absolute value of a map ``[n]``: 0 where nothing is marked, 1 where everything is."""

    def __call__(self, grayscale_cams: NDArray[Any]) -> NDArray[Any]:
        """The complexity of maps ``[n, h, w]``."""
        return np.abs(grayscale_cams.reshape(len(grayscale_cams), -1)).mean(axis=1)


class Coherency:
    """How alike a map is to the map of the image seen through it ``[n]``, 1 where they are the same."""

    def __call__(
        self,
        input_tensor: Tensor,
        grayscale_cams: NDArray[Any],
        targets: Sequence[ScoreFunction],
        model: nn.Module,
        base_method: Callable[..., NDArray[Any]],
    ) -> NDArray[Any]:
        """The coherency of maps ``[n, h, w]``; ``base_method(input_tensor=, targets=)`` explains again."""
        del model
        masks = torch.from_numpy(np.asarray(grayscale_cams)).unsqueeze(1).to(input_tensor.device)
        again = base_method(input_tensor=input_tensor * masks, targets=targets)
        return (batch_pearson_coherency(again, grayscale_cams) + 1) / 2


class ARCC:
    """The harmonic mean of coherency, 1 - complexity and twice ROAD, cut to [0, 1]; higher is better."""

    def __init__(
        self,
        base_method: Callable[..., NDArray[Any]],
        road_percentiles: Sequence[Percentile] = (20, 40, 60, 80),
    ) -> None:
        if not callable(base_method):
            raise TypeError(
                f"base_method must be a CAM that can explain again, e.g. GradCAM(model, layers); got {base_method!r}"
            )
        self.complexity = Complexity()
        self.coherency = Coherency()
        self.road = ROADCombined(percentiles=road_percentiles)
        self.base_method = base_method

    def __call__(
        self,
        input_tensor: Tensor,
        grayscale_cams: NDArray[Any],
        targets: Sequence[ScoreFunction],
        model: nn.Module,
    ) -> NDArray[Any]:
        """Scores ``[n]`` of maps ``[n, h, w]``."""
        parts = (
            self.coherency(input_tensor, grayscale_cams, targets, model, self.base_method),
            1 - self.complexity(grayscale_cams),
            (2 * self.road(input_tensor, grayscale_cams, targets, model)).clip(0, 1),
        )
        return len(parts) / np.sum([1 / (part + EPS) for part in parts], axis=0)

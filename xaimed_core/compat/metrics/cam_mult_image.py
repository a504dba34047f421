"""As ``pytorch_grad_cam.metrics.cam_mult_image``: what the model makes of an image seen through its map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.compat.metrics.perturbation_confidence import PerturbationConfidenceMetric, Scores
from xaimed_core.targets import ScoreFunction


def multiply_tensor_with_cam(input_tensor: Tensor, cam: Tensor) -> Tensor:
    """The normalised image ``[c, h, w]`` times its map ``[h, w]``."""
    return input_tensor * cam


class _Multiply:
    def __call__(self, input_tensor: Tensor, cam: Tensor) -> Tensor:
        return multiply_tensor_with_cam(input_tensor, cam)

    def batched(self, images: Tensor, cams: Tensor) -> Tensor:
        return images * cams.unsqueeze(1).to(images.dtype)


class CamMultImageConfidenceChange(PerturbationConfidenceMetric):
    """The change of the score when the image is multiplied with its map; negative: the map hides evidence."""

    def __init__(self) -> None:
        super().__init__(_Multiply())


class DropInConfidence(CamMultImageConfidenceChange):
    """The loss of score, 0 where there is none: max(0, before - after), not divided by the score before."""

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] # grad-cam passes on whatever it gets, too
        self,
        input_tensor: Tensor,
        cams: NDArray[Any],
        targets: Sequence[ScoreFunction],
        model: nn.Module,
    ) -> Scores:
        """Scores ``[n]``."""
        return np.maximum(-super().__call__(input_tensor, cams, targets, model), 0)


class IncreaseInConfidence(CamMultImageConfidenceChange):
    """1 where the score grows, else 0."""

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input_tensor: Tensor,
        cams: NDArray[Any],
        targets: Sequence[ScoreFunction],
        model: nn.Module,
    ) -> Scores:
        """Scores ``[n]``."""
        return (super().__call__(input_tensor, cams, targets, model) > 0).astype(np.float32)

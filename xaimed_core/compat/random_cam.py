"""As ``pytorch_grad_cam.random_cam``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import nn

from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base.augmentation import Augmentation
from xaimed_core.compat.base_cam import BaseCAM


class RandomCAM(BaseCAM):
    """Random channel weights in [-1, 1) from numpy's global generator, so that ``np.random.seed`` decides as there.

    ``METHODS["randomcam"]`` draws once and alike at every call; here each call draws anew, image by image.
    """

    method = "randomcam"
    by_hooks = True

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        *,
        tta_transforms: Iterable[Augmentation] | None = None,
    ) -> None:
        super().__init__(model, target_layers, reshape_transform, tta_transforms=tta_transforms)
        self.uses_gradients = type(self) is not RandomCAM  # only a subclass may read them

    def get_cam_weights(
        self, input_tensor: Any, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Array:
        """Weights ``[n, channels]``."""
        return np.random.uniform(-1, 1, size=activations.shape[:2])  # noqa: NPY002 # grad-cam's generator

"""As ``pytorch_grad_cam.random_cam``."""

from __future__ import annotations

from typing import Any

import numpy as np

from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base_cam import BaseCAM


class RandomCAM(BaseCAM):
    """Random channel weights in [-1, 1) from numpy's global generator, so that ``np.random.seed`` decides as there.

    ``METHODS["randomcam"]`` draws once and alike at every call; here each call draws anew, image by image.
    """

    method = "randomcam"
    by_hooks = True

    def get_cam_weights(
        self, input_tensor: Any, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Array:
        """Weights ``[n, channels]``."""
        return np.random.uniform(-1, 1, size=activations.shape[:2])  # noqa: NPY002 # grad-cam's generator

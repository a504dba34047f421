"""As ``pytorch_grad_cam.score_cam``."""

from __future__ import annotations

from typing import Any

from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base_cam import BaseCAM


class ScoreCAM(BaseCAM):
    """``METHODS["scorecam"]`` with grad-cam's arguments and epsilons."""

    method = "scorecam"

    def get_cam_weights(
        self, input_tensor: Any, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Array:
        """The weights ``[n, channels]`` of one layer, from the images and the model."""
        return self.probed_weights(input_tensor, target_layer, targets)

"""As ``pytorch_grad_cam.hirescam``."""

from __future__ import annotations

from typing import Any

from xaimed_core.compat.base.arrays import Array, reduction_weights
from xaimed_core.compat.base_cam import BaseCAM


class HiResCAM(BaseCAM):
    """``METHODS["hirescam"]`` with grad-cam's arguments and epsilons."""

    method = "hirescam"

    def get_cam_weights(
        self, input_tensor: Any, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Array:
        """The weights of arrays ``[n, channels, *positions]``."""
        return reduction_weights("hirescam", activations, grads)

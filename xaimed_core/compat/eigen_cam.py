"""As ``pytorch_grad_cam.eigen_cam``."""

from __future__ import annotations

from typing import Any

from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base_cam import BaseCAM
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection


class EigenCAM(BaseCAM):
    """``METHODS["eigencam"]`` with grad-cam's arguments and epsilons."""

    method = "eigencam"
    smooths = False

    def get_cam_image(
        self,
        input_tensor: Any,
        target_layer: Any,
        targets: Any,
        activations: Any,
        grads: Any,
        eigen_smooth: bool = False,
    ) -> Array:
        """The signed maps of arrays ``[n, channels, *positions]``."""
        return get_2d_projection(activations)

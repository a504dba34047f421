"""As ``pytorch_grad_cam.seg_eigen_cam``."""

from __future__ import annotations

from typing import Any

import numpy as np

from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base_cam import BaseCAM
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection_with_sign_correction


class SegEigenCAM(BaseCAM):
    """``METHODS["segeigencam"]`` with grad-cam's arguments and epsilons."""

    method = "segeigencam"
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
        return get_2d_projection_with_sign_correction(np.abs(grads) * activations)

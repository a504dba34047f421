"""As ``pytorch_grad_cam.seg_eigen_cam``."""

from __future__ import annotations

from typing import Any

import numpy as np

from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base_cam import ImageCAM
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection_with_sign_correction


class SegEigenCAM(ImageCAM):
    """``METHODS["segeigencam"]`` with grad-cam's arguments and epsilons."""

    method = "segeigencam"

    def _image_of(self, activations: Any, grads: Any) -> Array:
        return get_2d_projection_with_sign_correction(np.abs(grads) * activations)

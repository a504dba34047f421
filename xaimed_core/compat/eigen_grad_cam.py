"""As ``pytorch_grad_cam.eigen_grad_cam``."""

from __future__ import annotations

from typing import Any

from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base_cam import ImageCAM
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection


class EigenGradCAM(ImageCAM):
    """``METHODS["eigengradcam"]`` with grad-cam's arguments and epsilons."""

    method = "eigengradcam"

    def _image_of(self, activations: Any, grads: Any) -> Array:
        return get_2d_projection(grads * activations)

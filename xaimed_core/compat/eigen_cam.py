"""As ``pytorch_grad_cam.eigen_cam``."""

from __future__ import annotations

from typing import Any

from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base_cam import ImageCAM
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection


class EigenCAM(ImageCAM):
    """``METHODS["eigencam"]`` with grad-cam's arguments and epsilons."""

    method = "eigencam"

    def _image_of(self, activations: Any, grads: Any) -> Array:
        return get_2d_projection(activations)

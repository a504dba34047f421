"""As ``pytorch_grad_cam.utils``."""

from xaimed_core.compat.utils import model_targets, reshape_transforms
from xaimed_core.compat.utils.image import deprocess_image
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection, get_2d_projection_kernel

__all__ = [
    "deprocess_image",
    "get_2d_projection",
    "get_2d_projection_kernel",
    "model_targets",
    "reshape_transforms",
]

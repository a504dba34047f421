"""As ``pytorch_grad_cam.eigen_grad_cam``."""

from xaimed_core.compat.base_cam import BaseCAM


class EigenGradCAM(BaseCAM):
    """``METHODS["eigengradcam"]`` with grad-cam's arguments and epsilons."""

    method = "eigengradcam"

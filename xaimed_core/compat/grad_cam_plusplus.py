"""As ``pytorch_grad_cam.grad_cam_plusplus``."""

from xaimed_core.compat.base_cam import BaseCAM


class GradCAMPlusPlus(BaseCAM):
    """``METHODS["gradcam++"]`` with grad-cam's arguments and epsilons."""

    method = "gradcam++"

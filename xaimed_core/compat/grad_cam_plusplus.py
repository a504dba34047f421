"""As ``pytorch_grad_cam.grad_cam_plusplus``."""

from xaimed_core.compat.base_cam import BaseCAM, weighing


class GradCAMPlusPlus(BaseCAM):
    """``METHODS["gradcam++"]`` with grad-cam's arguments and epsilons."""

    method = "gradcam++"
    get_cam_weights = weighing(method)

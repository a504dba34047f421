"""As ``pytorch_grad_cam.grad_cam``."""

from xaimed_core.compat.base_cam import BaseCAM, weighing


class GradCAM(BaseCAM):
    """``METHODS["gradcam"]`` with grad-cam's arguments and epsilons."""

    method = "gradcam"
    get_cam_weights = weighing(method)

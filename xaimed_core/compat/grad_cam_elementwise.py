"""As ``pytorch_grad_cam.grad_cam_elementwise``."""

from xaimed_core.compat.base_cam import BaseCAM, weighing


class GradCAMElementWise(BaseCAM):
    """``METHODS["gradcamelementwise"]`` with grad-cam's arguments and epsilons."""

    method = "gradcamelementwise"
    get_cam_weights = weighing(method)

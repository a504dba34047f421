"""As ``pytorch_grad_cam.xgrad_cam``."""

from xaimed_core.compat.base_cam import BaseCAM, weighing


class XGradCAM(BaseCAM):
    """``METHODS["xgradcam"]`` with grad-cam's arguments and epsilons."""

    method = "xgradcam"
    get_cam_weights = weighing(method)

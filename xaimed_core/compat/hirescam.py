"""As ``pytorch_grad_cam.hirescam``."""

from xaimed_core.compat.base_cam import BaseCAM, weighing


class HiResCAM(BaseCAM):
    """``METHODS["hirescam"]`` with grad-cam's arguments and epsilons."""

    method = "hirescam"
    get_cam_weights = weighing(method)

"""As ``pytorch_grad_cam.hirescam``."""

from xaimed_core.compat.base_cam import BaseCAM


class HiResCAM(BaseCAM):
    """``METHODS["hirescam"]`` with grad-cam's arguments and epsilons."""

    method = "hirescam"

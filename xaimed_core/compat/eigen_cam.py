"""As ``pytorch_grad_cam.eigen_cam``."""

from xaimed_core.compat.base_cam import BaseCAM


class EigenCAM(BaseCAM):
    """``METHODS["eigencam"]`` with grad-cam's arguments and epsilons."""

    method = "eigencam"

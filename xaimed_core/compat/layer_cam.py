"""As ``pytorch_grad_cam.layer_cam``."""

from xaimed_core.compat.base_cam import BaseCAM, weighing


class LayerCAM(BaseCAM):
    """``METHODS["layercam"]`` with grad-cam's arguments and epsilons."""

    method = "layercam"
    get_cam_weights = weighing(method)

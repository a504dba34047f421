"""As ``pytorch_grad_cam.score_cam``."""

from xaimed_core.compat.base_cam import BaseCAM


class ScoreCAM(BaseCAM):
    """``METHODS["scorecam"]`` with grad-cam's arguments and epsilons."""

    method = "scorecam"

"""As ``pytorch_grad_cam.utils.reshape_transforms``: from a transformer's output to ``[n, channels, height, width]``."""

from __future__ import annotations

from torch import Tensor

from xaimed_core.compat.refusals import UTILITIES, refused


def vit_reshape_transform(tensor: Tensor, height: int = 14, width: int = 14) -> Tensor:
    """``[n, 1 + height * width, channels]``, the class token first."""
    return tensor[:, 1:].unflatten(1, (height, width)).movedim(-1, 1)


def swinT_reshape_transform(tensor: Tensor, height: int = 7, width: int = 7) -> Tensor:  # grad-cam's name
    """``[n, height * width, channels]``."""
    return tensor.unflatten(1, (height, width)).movedim(-1, 1)


def __getattr__(name: str) -> object:
    raise refused(name, __name__, UTILITIES)

"""As ``pytorch_grad_cam.utils.reshape_transforms``: from a transformer's output to ``[n, channels, height, width]``."""

from __future__ import annotations

from torch import Tensor

from xaimed_core.compat.refusals import UTILITIES, refused


def vit_reshape_transform(tensor: Tensor, height: int = 14, width: int = 14) -> Tensor:
    """``[n, 1 + height * width, channels]``, the class token first."""
    return _on_grid(tensor, 1, height, width)


def swinT_reshape_transform(tensor: Tensor, height: int = 7, width: int = 7) -> Tensor:  # grad-cam's name
    """``[n, height * width, channels]``."""
    return _on_grid(tensor, 0, height, width)


def _on_grid(tensor: Tensor, prefix: int, height: int, width: int) -> Tensor:
    if not isinstance(tensor, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the layer gave {type(tensor).__name__}, not a tensor [n, tokens, channels]")
    if tensor.ndim != 3 or tensor.shape[1] != prefix + height * width:
        raise ValueError(
            f"{prefix} + {height} x {width} tokens [n, tokens, channels] were expected, got {tuple(tensor.shape)}; "
            "give height and width, e.g. functools.partial(vit_reshape_transform, height=16, width=16)"
        )
    return tensor[:, prefix:].unflatten(1, (height, width)).movedim(-1, 1)


def __getattr__(name: str) -> object:
    raise refused(name, __name__, UTILITIES)

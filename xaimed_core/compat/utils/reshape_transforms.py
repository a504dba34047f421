"""As ``pytorch_grad_cam.utils.reshape_transforms``: from a transformer's output to ``[n, channels, height, width]``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional


def fasterrcnn_reshape_transform(x: Mapping[str, Tensor]) -> Tensor:
    """A feature pyramid, maps ``[n, c, h, w]`` by name, as one of all channels, absolute, of the size of "pool"."""
    size = x["pool"].shape[-2:]
    return torch.cat([functional.interpolate(maps.abs(), size, mode="bilinear") for maps in x.values()], 1)


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

"""What images and maps may look like, and one plain sentence for each that does not."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from xaimed_core.outputs import plain


def fitting_images(images: Any) -> Tensor:
    """Images ``[n, c, h, w]`` as a plain tensor. Raises TypeError or ValueError that say what to type."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a tensor [n, c, h, w] as the model reads them, got {type(images).__name__}; "
            "convert with torch.from_numpy"
        )
    if images.ndim == 3:
        raise ValueError(
            f"images must be [n, c, h, w], got {tuple(images.shape)}; add the batch axis with images[None]"
        )
    if images.ndim != 4 or 0 in images.shape or not images.is_floating_point():
        raise ValueError(
            f"images must be real numbers [n, c, h, w] with nothing empty, got {images.dtype} {tuple(images.shape)}"
        )
    return plain(images)


def fitting_maps(maps: Tensor, images: Tensor) -> Tensor:
    """Maps ``[n, h, w]``, one for each image and of its size. Raises ValueError that says what to type."""
    n, size = len(images), tuple(images.shape[2:])
    expected, shape = (n, *size), tuple(maps.shape)
    if shape != expected:
        if shape == (n, 1, *size):
            hint = "drop the channel axis with maps[:, 0]"
        elif len(shape) == 4:
            hint = "score one class of each image at a time, e.g. maps[:, 0] or e.of(0)"
        elif shape in (size, (1, *size)):
            hint = f"one map for all of {n} images is maps.expand({n}, -1, -1)"
        else:
            hint = "resize them with torch.nn.functional.interpolate"
        raise ValueError(
            f"maps must be {list(expected)}, one per image and of its size, got {list(shape)}; {hint}"
        )
    if not maps.is_floating_point():
        raise ValueError(f"maps must be real numbers, got {maps.dtype}; convert with maps.float()")
    if maps.device != images.device:
        raise ValueError(f"images are on {images.device}, maps on {maps.device}; move one with .to()")
    return maps


def fraction_maps(maps: Tensor) -> Tensor:
    """Maps in [0, 1]. Raises ValueError for others."""
    if not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError(
            "an image is seen through its map, so maps must be finite and in [0, 1], as explain gives them"
        )
    return maps


def check_batch(batch: Any) -> None:
    """Raise ValueError unless ``batch`` is None or a whole number of images."""
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise ValueError(f"batch must be at least 1, a whole number of images, got {batch}")

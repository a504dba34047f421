"""What images and maps may look like, and one plain sentence for each that does not."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor

from xaimed_core.admission import real_images
from xaimed_core.faithfulness.masks import Ties
from xaimed_core.numbers_given import is_whole

LARGEST_SEED = 2**32
"""Each row's noise has a seed of its own, many times as large, which must fit 64 bits."""


def fitting_images(images: Any) -> Tensor:
    """Images ``[n, c, h, w]`` as a plain tensor. Raises TypeError or ValueError that say what to type."""
    images = real_images(images)
    if images.ndim != 4:
        hint = (
            "add the batch axis with images[None]"
            if images.ndim == 3
            else "only images of two axes can be scored"
        )
        raise ValueError(f"images must be [n, c, h, w], got {tuple(images.shape)}; {hint}")
    return images


def fitting_maps(maps: Tensor, images: Tensor) -> Tensor:
    """Maps ``[n, h, w]``, one for each image and of its size. Raises ValueError that says what to type."""
    n, size = len(images), tuple(images.shape[2:])
    expected, shape = (n, *size), tuple(maps.shape)
    if shape != expected:
        if shape[:1] != (n,) and shape not in (size, (1, *size)):
            hint = "give the map of each image"
        elif shape == (n, 1, *size):
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
    if maps.layout != torch.strided or not maps.is_floating_point():
        hint = "maps.float()" if maps.layout == torch.strided else "maps.to_dense()"
        raise ValueError(f"maps must be real numbers, got {maps.dtype} ({maps.layout}); convert with {hint}")
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


def check_options(batch: Any, seed: Any, ties: Any) -> None:
    """Raise ValueError unless ``batch`` is None or a number of images, ``seed`` a number, ``ties`` a word for them."""
    if batch is not None and not (is_whole(batch) and batch >= 1):
        raise ValueError(f"batch must be at least 1, a whole number of images, got {batch!r}")
    if not (is_whole(seed) and abs(seed) < LARGEST_SEED):
        raise ValueError(f"seed must be a whole number below 2**32, got {seed!r}")
    if ties not in get_args(Ties):
        raise ValueError(f"unknown ties {ties!r}; choose from {', '.join(get_args(Ties))}")

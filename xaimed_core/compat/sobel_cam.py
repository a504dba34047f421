"""As ``pytorch_grad_cam.sobel_cam``, without OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""The shares of the colours in grey (ITU-R BT.601)."""


def sobel_cam(img: NDArray[Any]) -> NDArray[np.uint8]:
    """The edges of an image ``[h, w, 3]``, red first: half of each axis's absolute Sobel slope, at most 255."""
    picture = np.asarray(img)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype.kind not in "fiub":
        raise ValueError(f"the image must be numbers [h, w, 3], got {picture.dtype} {picture.shape}")
    grey = picture.astype(np.float64) @ (RED, GREEN, BLUE)
    if picture.dtype == np.uint8:
        grey = np.rint(grey)
    padded = np.pad(grey, 1, mode="reflect")
    slopes = (_slope(padded), _slope(padded.T).T)
    along, down = (np.minimum(np.rint(np.abs(slope)), 255) for slope in slopes)
    return np.rint(0.5 * along + 0.5 * down).astype(np.uint8)


def _slope(padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis: the difference of the neighbours, smoothed 1 2 1 along the other."""
    across = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return across[:, 2:] - across[:, :-2]

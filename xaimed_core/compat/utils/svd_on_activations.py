"""As ``pytorch_grad_cam.utils.svd_on_activations``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xaimed_core.kernel_component import Kernel, check_kernel, kernel_component
from xaimed_kernels.principal_map import principal_map


def get_2d_projection(activation_batch: NDArray[Any]) -> NDArray[np.float32]:
    """The first principal component ``[n, h, w]`` of activations ``[n, channels, h, w]``, NaN taken as 0.

    Its sign is that of the activations' sum; grad-cam's is what the SVD happens to give.
    """
    activations = torch.from_numpy(np.nan_to_num(np.asarray(activation_batch, np.float32), nan=0.0))
    return principal_map(activations).numpy()


def get_2d_projection_with_sign_correction(activation_batch: NDArray[Any]) -> NDArray[np.float32]:
    """The same with Seg-Eigen-CAM's sign: what reaches farther from 0 is positive (10.3390/app15137562, eq. 13)."""
    maps = get_2d_projection(activation_batch)
    axes = tuple(range(1, maps.ndim))
    flip = np.abs(maps.min(axes, keepdims=True)) > np.abs(maps.max(axes, keepdims=True))
    return np.where(flip, -maps, maps)


def get_2d_projection_kernel(
    activation_batch: NDArray[Any], kernel: Kernel = "sigmoid", gamma: float | None = None
) -> NDArray[np.float32]:
    """The first kernel principal component ``[n, h, w]`` of activations ``[n, channels, h, w]``, NaN taken as 0.

    As scikit-learn's ``KernelPCA``, for its kernels "linear", "poly", "rbf", "sigmoid" and "cosine".
    """
    check_kernel(kernel, gamma)
    activations = torch.from_numpy(np.nan_to_num(np.asarray(activation_batch, np.float32), nan=0.0))
    return kernel_component(activations, kernel, gamma).numpy()

"""As ``pytorch_grad_cam.kpca_cam``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base.augmentation import Augmentation
from xaimed_core.compat.base_cam import ImageCAM
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection_kernel
from xaimed_core.kernel_component import Kernel, check_kernel


class KPCA_CAM(ImageCAM):
    """``METHODS["kpcacam"]`` with grad-cam's arguments; another kernel or gamma than the default runs by the hooks."""

    method = "kpcacam"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        kernel: Kernel = "sigmoid",
        gamma: float | None = None,
        *,
        tta_transforms: Iterable[Augmentation] | None = None,
    ) -> None:
        super().__init__(
            model, target_layers, reshape_transform, uses_gradients=False, tta_transforms=tta_transforms
        )
        check_kernel(kernel, gamma)
        self.kernel: Kernel = kernel
        self.gamma = gamma
        self.by_hooks = self.by_hooks or (kernel, gamma) != ("sigmoid", None)

    def _image_of(self, activations: Any, grads: Any) -> Array:
        return get_2d_projection_kernel(activations, self.kernel, self.gamma)

"""As ``pytorch_grad_cam.fem``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.arrays import Array, as_tensor, weighted
from xaimed_core.compat.base.augmentation import Augmentation
from xaimed_core.compat.base_cam import ImageCAM
from xaimed_core.methods.weighing.fem import SIGMAS, weights
from xaimed_core.numbers_given import is_real


class FEM(ImageCAM):
    """``METHODS["fem"]`` with grad-cam's arguments; another k than 2 runs by the hooks."""

    method = "fem"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        k: float = SIGMAS,
        *,
        tta_transforms: Iterable[Augmentation] | None = None,
    ) -> None:
        super().__init__(
            model, target_layers, reshape_transform, uses_gradients=False, tta_transforms=tta_transforms
        )
        if not is_real(k):
            raise ValueError(f"k must be a number of standard deviations, e.g. 2, got {k!r}")
        self.k = k
        self.by_hooks = self.by_hooks or k != SIGMAS

    def _image_of(self, activations: Any, grads: Any) -> Array:
        return weighted(weights(as_tensor(activations).flatten(2), self.k), activations).sum(axis=1)

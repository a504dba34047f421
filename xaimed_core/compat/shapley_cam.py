"""As ``pytorch_grad_cam.shapley_cam``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base.augmentation import Augmentation
from xaimed_core.compat.base_cam import BaseCAM
from xaimed_core.second_order import bent


class ShapleyCAM(BaseCAM):
    """``METHODS["shapleycam"]`` with grad-cam's arguments and epsilons."""

    method = "shapleycam"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        *,
        tta_transforms: Iterable[Augmentation] | None = None,
    ) -> None:
        super().__init__(
            model,
            target_layers,
            reshape_transform,
            compute_input_gradient=True,
            tta_transforms=tta_transforms,
            detach=False,
        )

    def get_cam_weights(
        self, input_tensor: Any, target_layer: Any, targets: Any, activations: Tensor, grads: Tensor
    ) -> Array:
        """The weights ``[n, channels]`` of a layer's output and its gradient, tensors that still have their graph."""
        with torch.enable_grad():
            (slope,) = bent([grads], [activations], again=True)
        if self.reshape_transform is not None:
            slope = self.reshape_transform(slope)
        return slope.flatten(2).mean(2).cpu().numpy()

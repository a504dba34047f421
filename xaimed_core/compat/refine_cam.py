"""As ``pytorch_grad_cam.refine_cam``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from xaimed_core.admission import real_images
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base_cam import BaseCAM, Maps
from xaimed_core.compat.grad_cam_plusplus import GradCAMPlusPlus
from xaimed_core.compat.utils.image import scale_cam_image
from xaimed_core.targets import ScoreFunction


class RefineCAM:
    """The product over layers of the maps of ``base_method`` (arXiv 2605.14641), all layers in one forward.

    Arguments beyond these go to the constructor of ``base_method``. A method that runs by hooks, or smoothing, takes
    one forward for each layer, as in grad-cam.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        base_method: type[BaseCAM] = GradCAMPlusPlus,
        **kwargs: Any,
    ) -> None:
        if isinstance(target_layers, nn.Module | str) or not len(target_layers):
            raise TypeError("target_layers must be a list of layers whose maps are multiplied, at least one")
        self.target_layers = list(target_layers)
        self.base_cam_per_layer = [
            base_method(model, [layer], reshape_transform, **kwargs) for layer in target_layers
        ]

    def __call__(self, *args: Any, **kwargs: Any) -> Maps:
        """As `forward`."""
        return self.forward(*args, **kwargs)

    def forward(
        self, input_tensor: Tensor, targets: Sequence[ScoreFunction] | None = None, eigen_smooth: bool = False
    ) -> Maps:
        """Maps float32 ``[n, height, width]`` in [0, 1]."""
        first = self.base_cam_per_layer[0]
        alone = len(self.target_layers) == 1 or first.layers_to_explain() is None
        if first.by_hooks or eigen_smooth or alone:
            each = [cam.forward(input_tensor, targets, eigen_smooth) for cam in self.base_cam_per_layer]
            return scale_cam_image(np.prod(each, axis=0))
        images, method = real_images(input_tensor).to(first.device), f"refinecam({first.method})"
        found = first.explained(images, targets, self.target_layers, method)
        return found.maps[method].cpu().numpy()

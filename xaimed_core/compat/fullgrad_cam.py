"""As ``pytorch_grad_cam.fullgrad_cam``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaimed_core.admission import admit_module, real_images
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base.augmentation import Augmentation
from xaimed_core.compat.base_cam import BY_HOOKS, BaseCAM, Maps
from xaimed_core.compat.utils.find_layers import find_layer_predicate_recursive
from xaimed_core.compat.utils.image import scale_accross_batch_and_channels, scale_cam_image
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection
from xaimed_core.probes.biases import bias_of, scaled_sum
from xaimed_core.semantics import MIN_MAX_EPS
from xaimed_core.targets import ScoreFunction


class FullGrad(BaseCAM):
    """``METHODS["fullgrad"]`` with grad-cam's arguments; of ``target_layers`` none is used.

    ``bias_data``: what every Conv2d and BatchNorm2d adds. With ``eigen_smooth``, a ``reshape_transform`` or biases of
    other layers, which grad-cam leaves out, it runs by the hooks.
    """

    method = "fullgrad"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        *,
        tta_transforms: Iterable[Augmentation] | None = None,
    ) -> None:
        del target_layers
        every = find_layer_predicate_recursive(admit_module(model), lambda layer: bias_of(layer) is not None)
        biased = [layer for layer in every if type(layer) in (nn.Conv2d, nn.BatchNorm2d)]
        if not biased:
            raise ValueError(
                "fullgrad explains by biases, and the model has no Conv2d or BatchNorm2d with one"
            )
        super().__init__(
            model, biased, reshape_transform, compute_input_gradient=True, tta_transforms=tta_transforms
        )
        self.by_hooks = self.by_hooks or reshape_transform is not None or len(biased) < len(every)
        self.bias_data = [self.get_bias_data(layer).cpu().numpy() for layer in biased]

    def get_bias_data(self, layer: nn.Module) -> Tensor:
        """What the layer adds to its input ``[channels]``."""
        bias = bias_of(layer)
        assert bias is not None
        return bias

    def forward(
        self, input_tensor: Tensor, targets: Sequence[ScoreFunction] | None, eigen_smooth: bool = False
    ) -> Maps:
        """The maps without augmentation."""
        if not eigen_smooth:
            return super().forward(input_tensor, targets)
        self.route = BY_HOOKS.format(type(self).__name__)
        return self.forward_by_hooks(real_images(input_tensor).to(self.device), targets, eigen_smooth)

    def layers_to_explain(self) -> None:
        """None: the whole network is."""

    def compute_cam_per_layer(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> Any:
        """The maps ``[n, 1, h, w]`` of the input and all layers, added up or, smoothed, projected."""
        slopes = self.activations_and_grads.gradients
        if len(slopes) != len(self.bias_data):
            raise ValueError(
                f"{len(slopes)} of {len(self.bias_data)} layers with a bias took part in the forward pass"
            )
        assert input_tensor.grad is not None
        size = self.get_target_width_height(input_tensor)
        parts = list((input_tensor.grad * input_tensor.detach()).cpu().split(1, 1))
        parts += [
            torch.from_numpy(bias)[:, None, None] * slope
            for bias, slope in zip(self.bias_data, slopes, strict=True)
        ]
        stacked = torch.stack([scaled_sum(part, size[::-1], MIN_MAX_EPS) for part in parts], 1).numpy()
        if not eigen_smooth:
            return stacked.sum(axis=1, keepdims=True)
        small = scale_accross_batch_and_channels(stacked, (size[0] // 8, size[1] // 8))
        return scale_accross_batch_and_channels(get_2d_projection(small)[:, None], size)

    def aggregate_multi_layers(self, cam_per_target_layer: Any) -> Array:
        """The maps ``[n, h, w]``."""
        return scale_cam_image(np.sum(cam_per_target_layer, axis=1))

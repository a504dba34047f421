"""As ``pytorch_grad_cam.fullgrad_cam``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_core.admission import admit_module
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base.augmentation import Augmentation
from xaimed_core.compat.base_cam import BaseCAM
from xaimed_core.compat.utils.find_layers import find_layer_predicate_recursive
from xaimed_core.compat.utils.image import scale_accross_batch_and_channels, scale_cam_image
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection
from xaimed_core.semantics import MIN_MAX_EPS


class FullGrad(BaseCAM):
    """Input x gradient and every bias x gradient, scaled and added up (Srinivas and Fleuret 2019, arXiv 1905.00780).

    One forward, one backward for all biases. ``target_layers`` are not used: every Conv2d and BatchNorm2d with a bias
    is. Resizing is linear, so that a layer's scaled channels are added up before it, and resized once.
    ``bias_data``: the biases, a BatchNorm's with its running mean taken in.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        *,
        tta_transforms: Iterable[Augmentation] | None = None,
    ) -> None:
        del target_layers
        biased = find_layer_predicate_recursive(admit_module(model), _has_bias)
        if not biased:
            raise ValueError(
                "fullgrad explains by biases, and the model has no Conv2d or BatchNorm2d with one"
            )
        super().__init__(
            model, biased, reshape_transform, compute_input_gradient=True, tta_transforms=tta_transforms
        )
        self.bias_data = [self.get_bias_data(layer).cpu().numpy() for layer in biased]

    def get_bias_data(self, layer: Any) -> Tensor:
        """What the layer adds to its input ``[channels]``."""
        if not isinstance(layer, nn.BatchNorm2d):
            return layer.bias.detach()
        assert layer.running_mean is not None
        assert layer.running_var is not None
        shift = layer.running_mean * layer.weight / torch.sqrt(layer.running_var + layer.eps)
        return (layer.bias - shift).detach()

    def compute_cam_per_layer(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> Any:
        """The maps ``[n, 1, h, w]`` of the input and all layers, added up or, smoothed, projected."""
        slopes = self.activations_and_grads.gradients
        if len(slopes) != len(self.bias_data):
            raise ValueError(
                f"{len(slopes)} of {len(self.bias_data)} layers with a bias took part in the forward pass"
            )
        assert input_tensor.grad is not None
        size = self.get_target_width_height(input_tensor)
        shown = (input_tensor.grad * input_tensor.detach()).abs().cpu()
        maps = [torch.from_numpy(scale_accross_batch_and_channels(shown.numpy(), size))]
        for bias, slope in zip(self.bias_data, slopes, strict=True):
            scaled = _min_max((torch.from_numpy(bias)[:, None, None] * slope).abs()).sum(1, keepdim=True)
            maps.append(functional.interpolate(scaled, size[::-1], mode="bilinear", align_corners=False))
        stacked = torch.cat(maps, 1).numpy()
        if not eigen_smooth:
            return stacked.sum(axis=1, keepdims=True)
        small = scale_accross_batch_and_channels(stacked, (size[0] // 8, size[1] // 8))
        return scale_accross_batch_and_channels(get_2d_projection(small)[:, None], size)

    def aggregate_multi_layers(self, cam_per_target_layer: Any) -> Array:
        """The maps ``[n, h, w]``."""
        return scale_cam_image(np.sum(cam_per_target_layer, axis=1))


def _has_bias(layer: nn.Module) -> bool:
    return type(layer) in (nn.Conv2d, nn.BatchNorm2d) and getattr(layer, "bias", None) is not None


def _min_max(maps: Tensor) -> Tensor:
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / (MIN_MAX_EPS + maps.amax((2, 3), keepdim=True))

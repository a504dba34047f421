"""grad-cam's documented hooks: what a subclass may replace, and the slow way on which they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from xaimed_core.compat.activations_and_gradients import ActivationsAndGradients, ReshapeTransform
from xaimed_core.compat.base.arrays import Array, weighted
from xaimed_core.compat.base.block import Block
from xaimed_core.compat.utils.image import scale_cam_image
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget
from xaimed_core.compat.utils.svd_on_activations import get_2d_projection
from xaimed_core.targets import ScoreFunction

HOOKS: Final = frozenset(
    {
        "aggregate_multi_layers",
        "compute_cam_per_layer",
        "get_cam_image",
        "get_cam_weights",
        "get_target_width_height",
    }
)
"""A subclass that defines any of these is explained by them."""


class Hooks(Block):
    """The hooks with grad-cam's own meaning; arrays are ``[n, channels, *positions]`` on the CPU."""

    model: nn.Module
    target_layers: Sequence[nn.Module]
    reshape_transform: ReshapeTransform | None
    uses_gradients: bool
    detach: bool
    outputs: Any
    activations_and_grads: ActivationsAndGradients

    def get_cam_weights(
        self, input_tensor: Any, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Array:
        """The weights ``[n, channels]`` of a layer: what most subclasses define."""
        del input_tensor, target_layer, targets, activations, grads
        raise NotImplementedError("get_cam_weights must be implemented by a subclass")

    def get_cam_image(
        self,
        input_tensor: Any,
        target_layer: Any,
        targets: Any,
        activations: Any,
        grads: Any,
        eigen_smooth: bool = False,
    ) -> Array:
        """The signed maps ``[n, *positions]`` of a layer; ``eigen_smooth`` projects instead of adding up."""
        weights = self.get_cam_weights(input_tensor, target_layer, targets, activations, grads)
        if not self.detach and self.reshape_transform is not None:
            activations = self.reshape_transform(activations)
        values = weighted(weights, activations)
        return get_2d_projection(values) if eigen_smooth else values.sum(axis=1)

    def get_target_width_height(self, input_tensor: Tensor) -> tuple[int, ...]:
        """The size that maps are brought to, the last axis first."""
        if input_tensor.ndim not in (4, 5):
            raise ValueError(
                f"images must be [n, c, h, w] or [n, c, d, h, w], got {tuple(input_tensor.shape)}"
            )
        return tuple(input_tensor.shape[:1:-1])

    def compute_cam_per_layer(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> list[Array]:
        """Each layer's maps ``[n, 1, *size]`` in [0, 1], from what ``activations_and_grads`` kept."""
        kept = self.activations_and_grads
        values, slopes = (
            [_as_array(one, self.detach) for one in of] for of in (kept.activations, kept.gradients)
        )
        size = self.get_target_width_height(input_tensor)
        maps: list[Array] = []
        for i, layer in enumerate(self.target_layers):
            slope = slopes[i] if i < len(slopes) else None
            cam = self.get_cam_image(input_tensor, layer, targets, values[i], slope, eigen_smooth)
            maps.append(scale_cam_image(np.maximum(cam, 0), size)[:, None])
        return maps

    def aggregate_multi_layers(self, cam_per_target_layer: Any) -> Array:
        """The layers' maps as one, ``[n, *size]``: their mean."""
        stacked = np.maximum(np.concatenate(cam_per_target_layer, axis=1), 0)
        return scale_cam_image(np.mean(stacked, axis=1))

    def forward_by_hooks(
        self, images: Tensor, targets: Sequence[ScoreFunction] | None, eigen_smooth: bool
    ) -> Array:
        """One forward and, where gradients are used, one backward through the whole network; then the hooks."""
        images = images.detach().clone().requires_grad_()
        with torch.inference_mode(False), torch.enable_grad():
            self.outputs = outputs = self.activations_and_grads(images)
            if targets is None:
                targets = [ClassifierOutputTarget(category) for category in outputs.argmax(-1).tolist()]
            if len(targets) != len(images):
                raise ValueError(f"{len(targets)} targets for {len(images)} images; give one per image")
            if self.uses_gradients:
                loss = sum(target(output) for target, output in zip(targets, outputs, strict=True))
                assert isinstance(loss, Tensor)
                self.activations_and_grads.differentiate(loss.sum(), images)
            maps = self.compute_cam_per_layer(images, targets, eigen_smooth)
        try:
            return self.aggregate_multi_layers(maps)
        finally:
            self.activations_and_grads.clear()


def _as_array(values: Tensor, detach: bool) -> Any:
    return values.numpy() if detach else values

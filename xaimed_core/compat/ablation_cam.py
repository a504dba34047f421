"""As ``pytorch_grad_cam.ablation_cam``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from xaimed_core.compat.ablation_layer import AblationLayer, channel_dim_of
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.arrays import Array
from xaimed_core.compat.base.augmentation import Augmentation
from xaimed_core.compat.base_cam import BaseCAM
from xaimed_core.compat.refusals import NotMirroredError


class AblationCAM(BaseCAM):
    """``METHODS["ablationcam"]`` with grad-cam's arguments, drops divided by the score as there.

    ``batch_size`` is accepted and has no effect: rows go through the tail in chunks that memory bounds.
    ``ratio_channels_to_ablate`` other than 1 is refused: all channels cost less here than a tenth of them there,
    and grad-cam's selection counts channels twice above 0.5.
    """

    method = "ablationcam"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        ablation_layer: object = None,
        batch_size: int = 32,
        ratio_channels_to_ablate: float = 1.0,
        *,
        tta_transforms: Iterable[Augmentation] | None = None,
    ) -> None:
        super().__init__(model, target_layers, reshape_transform, tta_transforms=tta_transforms)
        if ratio_channels_to_ablate != 1.0:
            raise NotMirroredError(
                f"xaimed_core.compat does not mirror ratio_channels_to_ablate={ratio_channels_to_ablate}: "
                "leave it at 1, every channel is ablated exactly and fast"
            )
        self.ablation_layer = AblationLayer() if ablation_layer is None else ablation_layer
        self.channel_dim = channel_dim_of(self.ablation_layer)
        self.batch_size = batch_size

    def get_cam_weights(
        self, input_tensor: Any, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Array:
        """The weights ``[n, channels]`` of one layer, from the images and the model."""
        return self.probed_weights(input_tensor, target_layer, targets)

"""As ``pytorch_grad_cam.feature_factorization.deep_feature_factorization`` (Collins et al. 2018, arXiv 1806.10206)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.admission import real_images
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.block import Block
from xaimed_core.compat.utils.image import create_labels_legend, scale_cam_image, show_factorization_on_image
from xaimed_core.factorisation import factorise
from xaimed_core.forward import observe, unwrap
from xaimed_core.layers import resolve_layers

Array = NDArray[np.float32]


def dff(activations: NDArray[Any] | Tensor, n_components: int = 5) -> tuple[Array, Array]:
    """Concepts ``[channels, k]`` and their places ``[n, k, h, w]`` of activations ``[n, channels, h, w]``.

    Each channel's minimum is taken off first, and put back into the concepts. A tensor is factorised on its device.
    """
    values = torch.as_tensor(activations).nan_to_num(nan=0.0).float()
    if values.ndim != 4:
        raise ValueError(f"activations must be [n, channels, h, w], got {tuple(values.shape)}")
    n, _, *size = values.shape
    by_channel = values.transpose(0, 1).flatten(1)
    offset = by_channel.amin(1, keepdim=True)
    concepts, places = factorise(by_channel - offset, n_components)
    by_image = places.unflatten(1, (n, *size)).transpose(0, 1)
    return (concepts + offset).cpu().numpy(), by_image.contiguous().cpu().numpy()


class DeepFeatureFactorization(Block):
    """The concepts that a layer's activations are made of, and where each of them is.

    ``computation_on_concepts``, e.g. the classifier, is run on the concepts ``[k, channels]``.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layer: nn.Module,
        reshape_transform: ReshapeTransform | None = None,
        computation_on_concepts: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.model = model
        self.target_layer = target_layer
        self.reshape_transform = reshape_transform
        self.computation_on_concepts = computation_on_concepts

    def __call__(self, input_tensor: Tensor, n_components: int = 16) -> tuple[Any, ...]:
        """Concepts ``[channels, k]``, per image maps ``[k, h, w]`` in [0, 1], and what the computation gave, if any."""
        images = real_images(input_tensor)
        model, _ = unwrap(self.model)
        layers = resolve_layers(model, [self.target_layer], images)
        (activation,) = observe(model, images, layers, gradients=False, scored=False).activations
        if self.reshape_transform is not None:
            activation = self.reshape_transform(activation)
        concepts, places = dff(activation, n_components)
        maps = [scale_cam_image(of_image, images.shape[:1:-1]) for of_image in places]
        if self.computation_on_concepts is None:
            return concepts, maps
        with torch.no_grad():
            rows = torch.from_numpy(np.ascontiguousarray(concepts.T)).to(activation)
            return concepts, maps, self.computation_on_concepts(rows).cpu().numpy()


def run_dff_on_image(
    model: Any,
    target_layer: nn.Module,
    classifier: Callable[[Tensor], Tensor],
    img_pil: Any,
    img_tensor: Tensor,
    reshape_transform: ReshapeTransform | None = None,
    n_components: int = 5,
    top_k: int = 2,
) -> NDArray[np.uint8]:
    """The picture beside its concepts, each labelled with its ``top_k`` classes of ``model.config.id2label``."""
    factorization = DeepFeatureFactorization(model, target_layer, reshape_transform, classifier)
    _, maps, scores = factorization(img_tensor[None], n_components)
    chances = torch.from_numpy(scores).softmax(-1).numpy()
    labels = create_labels_legend(chances, labels=model.config.id2label, top_k=top_k)
    picture = np.asarray(img_pil)
    shown = show_factorization_on_image(picture / 255, maps[0], image_weight=0.3, concept_labels=labels)
    return np.hstack((picture, shown))

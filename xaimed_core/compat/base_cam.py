"""As ``pytorch_grad_cam.base_cam``: grad-cam's calling conventions around `xaimed_core.explain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.admission import admit_module, real_images
from xaimed_core.compat.activations_and_gradients import ActivationsAndGradients, ReshapeTransform
from xaimed_core.compat.base.arrays import Array, formula_weights, reduction_weights
from xaimed_core.compat.base.augmentation import DEFAULT_AUGMENTATIONS, Augmentation
from xaimed_core.compat.base.hooks import HOOKS, Hooks
from xaimed_core.compat.utils.model_targets import category_of
from xaimed_core.compat.utils.reshape_transforms import fasterrcnn_reshape_transform
from xaimed_core.engine import Explanation, explain
from xaimed_core.forward import observe, unwrap
from xaimed_core.layers import resolve_layers
from xaimed_core.layout import ChannelsFirst, ChannelsLast, LayoutError, LayoutLike
from xaimed_core.semantics import MIN_MAX_EPS
from xaimed_core.targets import ScoreFunction
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.rescale_maps import rescale_maps

Maps = NDArray[np.float32]

BY_HOOKS = "a whole forward and backward, and the hooks of {} on the CPU"


@final
@dataclass(frozen=True)
class _AsGiven:
    """A layer's output read by the caller's ``reshape_transform``."""

    transform: ReshapeTransform
    channel_dim: int
    image_size: tuple[int, ...]

    def to_maps(self, output: Tensor) -> Tensor:
        """``[n, c, *positions]``. Raises ValueError where that is not what comes out."""
        maps: Any = self.transform(output)
        if not isinstance(maps, Tensor) or maps.ndim != 2 + len(self.image_size):
            made = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise ValueError(
                f"reshape_transform made {made} of {tuple(output.shape)}, "
                f"not [n, channels, *positions] of images {self.image_size}"
            )
        return maps


class BaseCAM(Hooks):
    """What all CAM classes share. xaimed's own explain by `METHODS[method]`; a subclass that defines hooks, by these.

    Arguments and results as in grad-cam 1.5.7. ``outputs`` holds the logits of the last call, ``route`` says what ran.
    The model is put into eval mode for good, as there. ``tta_transforms`` are the augmentations of ``aug_smooth``, of
    ``ttach`` or alike. ``compute_input_gradient``, ``uses_gradients`` and ``detach`` are for a subclass's hooks:
    xaimed's own classes know what they differentiate.
    """

    method: ClassVar[str] = ""
    smooths: ClassVar[bool] = True
    """Whether ``eigen_smooth`` changes anything, as in grad-cam."""
    by_hooks: bool = False
    channel_dim: int | None = None

    def __init_subclass__(cls) -> None:
        """A class of xaimed names its ``method``; any other that defines hooks, or has no method, is run by them."""
        if "method" not in vars(cls):
            cls.by_hooks = cls.by_hooks or not cls.method or bool(HOOKS & vars(cls).keys())

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        compute_input_gradient: bool = False,
        uses_gradients: bool = True,
        tta_transforms: Iterable[Augmentation] | None = None,
        detach: bool = True,
    ) -> None:
        if isinstance(target_layers, nn.Module | str) or not hasattr(target_layers, "__iter__"):
            kind = type(target_layers).__name__
            raise TypeError(f"target_layers must be a list, e.g. [model.layer4[-1]], got a {kind}")
        if reshape_transform is not None and not callable(reshape_transform):
            raise TypeError(f"reshape_transform must be a function, got {reshape_transform!r}")
        self.model = admit_module(model).eval()
        self.target_layers = target_layers
        self.reshape_transform = reshape_transform
        self.compute_input_gradient = compute_input_gradient
        self.uses_gradients = uses_gradients
        self.detach = detach
        self.tta_transforms = DEFAULT_AUGMENTATIONS if tta_transforms is None else tta_transforms
        self.outputs: Any = None
        self.route = ""
        modules = [layer for layer in target_layers if isinstance(layer, nn.Module)]  # pyright: ignore[reportUnnecessaryIsInstance]
        self.activations_and_grads = ActivationsAndGradients(self.model, modules, reshape_transform, detach)

    @property
    def device(self) -> torch.device:
        """Where the model is, and images are taken."""
        parameter = next(self.model.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def __call__(
        self,
        input_tensor: Tensor,
        targets: Sequence[ScoreFunction] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> Maps:
        """Maps float32 ``[n, height, width]`` in [0, 1] of images ``[n, channels, height, width]``.

        ``targets``: one callable per image on its output row, or None for each image's top class. ``aug_smooth``
        averages over ``tta_transforms``; ``eigen_smooth`` takes the first principal component of the weighted
        activations instead of their sum (no effect on methods that project already, and on FEM).
        """
        if aug_smooth:
            return self.forward_augmentation_smoothing(input_tensor, targets, eigen_smooth)
        return self.forward(input_tensor, targets, eigen_smooth)

    def forward(
        self, input_tensor: Tensor, targets: Sequence[ScoreFunction] | None, eigen_smooth: bool = False
    ) -> Maps:
        """The maps without augmentation."""
        images = real_images(input_tensor).to(self.device)
        if self.by_hooks or not self.method or self.reshape_transform is fasterrcnn_reshape_transform:
            self.route = BY_HOOKS.format(type(self).__name__)
            return self.forward_by_hooks(images, targets, eigen_smooth)
        explanation = self.explained(images, targets, self.layers_to_explain())
        self.outputs, self.route = explanation.logits, str(explanation.route[self.method])
        maps = explanation.maps[self.method]
        if eigen_smooth and self.smooths:
            maps = self._smoothed(images, targets, explanation.weights.get(self.method))
        return maps.cpu().numpy()

    def layers_to_explain(self) -> list[nn.Module] | None:
        """What `explain` is given for its layer."""
        return list(self.target_layers)

    def explained(
        self,
        images: Tensor,
        targets: Sequence[ScoreFunction] | None,
        layers: Sequence[nn.Module] | None,
        method: str = "",
    ) -> Explanation:
        """`explain` at these layers by this class's method, or another, in grad-cam's arithmetic."""
        try:
            return explain(
                self.model,
                images,
                method or self.method,
                layers,
                for_engine(targets),
                layout=self._layout(images),
                semantics="grad-cam",
            )
        except LayoutError as error:
            raise ValueError(
                f"{str(error).partition(';')[0]}; pass reshape_transform, e.g. "
                "compat.utils.reshape_transforms.vit_reshape_transform, which makes it [n, channels, *positions]"
            ) from None

    def probed_weights(
        self, images: Tensor, layer: nn.Module, targets: Sequence[ScoreFunction] | None
    ) -> Maps:
        """A method's channel weights ``[n, channels]`` at one layer."""
        weights = self.explained(real_images(images).to(self.device), targets, [layer]).weights[self.method]
        assert isinstance(weights, Tensor)
        return weights.cpu().numpy()

    def forward_augmentation_smoothing(
        self, input_tensor: Tensor, targets: Sequence[ScoreFunction] | None, eigen_smooth: bool = False
    ) -> Maps:
        """The mean of the maps over ``tta_transforms``."""
        input_tensor = real_images(input_tensor)
        looks: list[Tensor] = []
        ways = list(self.tta_transforms) if hasattr(self.tta_transforms, "__iter__") else []
        if not ways or not all(hasattr(way, "augment_image") for way in ways):
            raise TypeError("tta_transforms must be a list of transforms as ttach has them, at least one")
        for transform in ways:
            maps = self.forward(transform.augment_image(input_tensor), targets, eigen_smooth)
            looks.append(transform.deaugment_mask(torch.from_numpy(maps)[:, None])[:, 0])
        return torch.stack(looks).mean(0).numpy()

    def _layout(self, images: Tensor) -> LayoutLike:
        channel_dim = 1 if self.channel_dim is None else self.channel_dim
        if self.reshape_transform is None:
            return None if channel_dim == 1 else ChannelsLast()
        layout = _AsGiven(self.reshape_transform, channel_dim, tuple(images.shape[2:]))
        return cast("LayoutLike", layout)  # the engine asks a layout for no more than these two

    def _smoothed(
        self,
        images: Tensor,
        targets: Sequence[ScoreFunction] | None,
        weights: Tensor | tuple[Tensor, ...] | None,
    ) -> Tensor:
        """``eigen_smooth``: maps from the principal component of each layer's weighted activations."""
        model, _ = unwrap(self.model)
        layers = resolve_layers(model, list(self.target_layers), images)
        seen = observe(model, images, layers, for_engine(targets), gradients=weights is None)
        layout = (
            self._layout(images) or ChannelsFirst()
        )  # which the maps before this were read by without doubt
        assert layout != "infer"
        values = [layout.to_maps(activation) for activation in seen.activations]
        with torch.inference_mode(False), torch.no_grad():
            if weights is None:
                slopes = [layout.to_maps(gradient) for gradient in seen.gradients[0]]
                each = [formula_weights(self.method, a, g) for a, g in zip(values, slopes, strict=True)]
            else:
                each = [weights] if isinstance(weights, Tensor) else list(weights)
            raws = [principal_map(a, w) for a, w in zip(values, each, strict=True)]
            return rescale_maps(raws, images.shape[2:], eps=MIN_MAX_EPS).maps


def weighing(method: str):  # noqa: ANN201 # no type names the arguments of what it returns
    """The hook of a class of xaimed's own that weighs by a formula; it asks nothing of the object, as in grad-cam."""

    def get_cam_weights(
        self: Any, input_tensor: Any, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Array:
        """The weights of arrays ``[n, channels, *positions]``."""
        return reduction_weights(method, activations, grads)

    return get_cam_weights


class ImageCAM(BaseCAM):
    """A class of xaimed's own that makes its image without channel weights, whether smoothed or not."""

    method = ""
    smooths = False

    def get_cam_image(
        self,
        input_tensor: Any,
        target_layer: Any,
        targets: Any,
        activations: Any,
        grads: Any,
        eigen_smooth: bool = False,
    ) -> Array:
        """The signed maps of arrays ``[n, channels, *positions]``."""
        return self._image_of(activations, grads)

    def _image_of(self, activations: Any, grads: Any) -> Array:
        """The signed maps of arrays ``[n, channels, *positions]``."""
        raise NotImplementedError


def for_engine(targets: Sequence[ScoreFunction] | None) -> list[int] | list[ScoreFunction] | None:
    """grad-cam's targets as the engine takes them: class numbers, which are cheaper, where all of them are such."""
    if targets is None:
        return None
    if isinstance(targets, str) or not hasattr(targets, "__iter__"):
        raise TypeError(f"targets must be a list with a target for each image, got {type(targets).__name__}")
    given = list(targets)
    categories = [category for target in given if (category := category_of(target)) is not None]
    return categories if len(categories) == len(given) else given

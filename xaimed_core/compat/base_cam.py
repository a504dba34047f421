"""As ``pytorch_grad_cam.base_cam``: grad-cam's calling conventions around `xaimed_core.explain`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.admission import admit_module, real_images
from xaimed_core.compat.refusals import MEMBERS, NotMirroredError, refused
from xaimed_core.compat.utils.model_targets import category_of
from xaimed_core.engine import explain
from xaimed_core.forward import observe, unwrap
from xaimed_core.layers import resolve_layers
from xaimed_core.layout import ChannelsFirst, ChannelsLast, LayoutError, LayoutLike
from xaimed_core.semantics import MIN_MAX_EPS
from xaimed_core.targets import ScoreFunction
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.rescale_maps import rescale_maps

ReshapeTransform = Callable[[Tensor], Tensor]
"""A layer's output, and its gradient, to ``[n, channels, height, width]``."""

Maps = NDArray[np.float32]


class Augmentation(Protocol):
    """One way to look at the images again, as the transforms of ``ttach`` are."""

    def augment_image(self, image: Tensor) -> Tensor:
        """The images ``[n, channels, h, w]`` changed."""
        ...

    def deaugment_mask(self, mask: Tensor) -> Tensor:
        """The maps ``[n, 1, h, w]`` of the changed images, back on the unchanged ones."""
        ...


@final
@dataclass(frozen=True)
class FlipAndMultiply:
    """The images mirrored or not, times a factor."""

    flip: bool
    factor: float

    def augment_image(self, image: Tensor) -> Tensor:
        """The images ``[n, channels, h, w]`` changed."""
        return (image.flip(-1) if self.flip else image) * self.factor

    def deaugment_mask(self, mask: Tensor) -> Tensor:
        """The maps ``[n, 1, h, w]``, mirrored back."""
        return mask.flip(-1) if self.flip else mask


DEFAULT_AUGMENTATIONS = tuple(FlipAndMultiply(flip, by) for flip in (False, True) for by in (0.9, 1.0, 1.1))
"""What grad-cam smooths over with ``aug_smooth=True``."""


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


class BaseCAM:
    """What all CAM classes share; use one of them, this one alone explains nothing.

    Arguments and results as in grad-cam 1.5.7. ``outputs`` holds the logits of the last call. The model is put into
    eval mode for good, as there. ``tta_transforms`` are the augmentations of ``aug_smooth``, of ``ttach`` or alike.
    """

    method: ClassVar[str]
    channel_dim: int | None = None

    def __init_subclass__(cls) -> None:
        """Refuse subclasses that override what would never be called."""
        for name in MEMBERS.keys() & vars(cls).keys():
            raise refused(name, cls.__name__, MEMBERS)

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
        if not hasattr(type(self), "method"):
            raise refused("get_cam_weights", "BaseCAM", MEMBERS)
        if compute_input_gradient:
            raise NotMirroredError(
                "xaimed_core.compat does not mirror compute_input_gradient: the prefix runs without autograd; "
                "differentiate the score by the images with torch.autograd.grad"
            )
        if not detach:
            raise NotMirroredError(
                "xaimed_core.compat does not mirror detach=False: maps carry no graph; "
                "use pytorch_grad_cam for second derivatives"
            )
        del uses_gradients  # each method knows
        if isinstance(target_layers, nn.Module | str) or not hasattr(target_layers, "__iter__"):
            kind = type(target_layers).__name__
            raise TypeError(f"target_layers must be a list, e.g. [model.layer4[-1]], got a {kind}")
        if reshape_transform is not None and not callable(reshape_transform):
            raise TypeError(f"reshape_transform must be a function, got {reshape_transform!r}")
        self.model = admit_module(model).eval()
        self.target_layers = target_layers
        self.reshape_transform = reshape_transform
        self.tta_transforms = DEFAULT_AUGMENTATIONS if tta_transforms is None else tta_transforms
        self.outputs: Tensor | None = None

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
        activations instead of their sum (no effect on EigenCAM and EigenGradCAM, which are that already).
        """
        if aug_smooth:
            return self.forward_augmentation_smoothing(input_tensor, targets, eigen_smooth)
        return self.forward(input_tensor, targets, eigen_smooth)

    def forward(
        self, input_tensor: Tensor, targets: Sequence[ScoreFunction] | None, eigen_smooth: bool = False
    ) -> Maps:
        """The maps without augmentation."""
        images = real_images(input_tensor).to(self.device)
        try:
            explanation = explain(
                self.model,
                images,
                self.method,
                list(self.target_layers),
                _for_engine(targets),
                layout=self._layout(images),
                semantics="grad-cam",
            )
        except LayoutError as error:
            raise ValueError(
                f"{str(error).partition(';')[0]}; pass reshape_transform, e.g. "
                "compat.utils.reshape_transforms.vit_reshape_transform, which makes it [n, channels, *positions]"
            ) from None
        self.outputs = explanation.logits
        maps = explanation.maps[self.method]
        if eigen_smooth and self.method not in ("eigencam", "eigengradcam"):
            maps = self._smoothed(images, targets, explanation.weights.get(self.method))
        return maps.cpu().numpy()

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
        by_gradient = weights is None
        seen = observe(model, images, layers, _for_engine(targets), gradients=by_gradient)
        layout = (
            self._layout(images) or ChannelsFirst()
        )  # which the maps before this were read by without doubt
        assert layout != "infer"
        to_maps = layout.to_maps
        with torch.inference_mode(False), torch.no_grad():
            if weights is None:
                gradients = [to_maps(gradient) for gradient in seen.gradients[0]]
                each = [g.relu() for g in gradients] if self.method == "layercam" else gradients
            else:
                each = [weights] if isinstance(weights, Tensor) else list(weights)
            raws = [principal_map(to_maps(a), w) for a, w in zip(seen.activations, each, strict=True)]
            return rescale_maps(raws, images.shape[2:], eps=MIN_MAX_EPS).maps

    def __enter__(self) -> Self:
        """Nothing is held between calls; the block is for scripts that have one."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every exception through. grad-cam swallows IndexError here."""

    def __getattr__(self, name: str) -> Any:
        raise refused(name, type(self).__name__, MEMBERS)


def _for_engine(targets: Sequence[ScoreFunction] | None) -> list[int] | list[ScoreFunction] | None:
    """grad-cam's targets as the engine takes them: class numbers, which are cheaper, where all of them are such."""
    if targets is None:
        return None
    if isinstance(targets, str) or not hasattr(targets, "__iter__"):
        raise TypeError(f"targets must be a list with a target for each image, got {type(targets).__name__}")
    given = list(targets)
    categories = [category for target in given if (category := category_of(target)) is not None]
    return categories if len(categories) == len(given) else given

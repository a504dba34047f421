"""The ways to look at images again of ``aug_smooth``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

from torch import Tensor


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

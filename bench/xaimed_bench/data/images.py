"""What a batch of images is: pixels, how they were normalised, and what is known about each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Normalisation:
    """Per channel: ``(pixel - mean) / std`` with pixels in [0, 1]. Red, green, blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Raise ValueError for a standard deviation that cannot be divided by."""
        if not all(s > 0 for s in self.std):
            raise ValueError(f"standard deviations must be positive, got {self.std}")

    def apply(self, pixels: Tensor) -> Tensor:
        """Pixels ``[n, 3, h, w]`` in [0, 1] to what a model reads."""
        mean, std = self._as_tensors(pixels)
        return (pixels - mean) / std

    def undo(self, images: Tensor) -> Tensor:
        """What a model reads, ``[n, 3, h, w]``, to pixels in [0, 1] (for showing them)."""
        mean, std = self._as_tensors(images)
        return images * std + mean

    def _as_tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(v, dtype=like.dtype, device=like.device).view(3, 1, 1) for v in (self.mean, self.std)
        )
        return mean, std


IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""The channel statistics of ImageNet, with which torchvision's weights and most fine-tuned ones were trained."""


@final
@dataclass(frozen=True)
class ImageBatch:
    """Images of one size with what is known about each.

    ``images``  float32 ``[n, 3, size, size]``, normalised as ``normalisation`` says
    ``masks``   bool ``[n, size, size]``, True on the lesion; None where the source has no masks at all
    ``has_mask``  bool ``[n]``: the images whose mask is known (the other rows of ``masks`` are all False)
    ``labels``  int64 ``[n]`` into ``classes``; None where the source tells no classes
    ``names``   what to call each image: its path below the source's folder, or the phantom's kind and number
    ``source``  where the images come from, in one phrase
    ``findings``  defects of the source that its user must know, one sentence each
    """

    images: Tensor
    normalisation: Normalisation
    source: str
    names: tuple[str, ...]
    masks: Tensor | None = None
    has_mask: Tensor | None = None
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError where the fields do not describe the same images."""
        n = len(self.images)
        known = {"names": self.names, "masks": self.masks, "has_mask": self.has_mask, "labels": self.labels}
        wrong = {k: len(v) for k, v in known.items() if v is not None and len(v) != n}
        if wrong:
            raise ValueError(f"{n} images, but {wrong}: every field needs one entry per image")
        if (self.masks is None) != (self.has_mask is None):
            raise ValueError("masks and has_mask belong together: give both or neither")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must have different names, got {self.classes}")
        if self.labels is not None and not bool(
            ((self.labels >= 0) & (self.labels < len(self.classes))).all()
        ):
            raise ValueError(
                f"labels must be numbers of the {len(self.classes)} classes, got {sorted(set(self.labels.tolist()))}"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pixels(self) -> Tensor:
        """The images as they look, ``[n, 3, size, size]`` in [0, 1]."""
        return self.normalisation.undo(self.images).clamp(0, 1)

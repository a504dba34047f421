"""Inputs that the operations' cases are made of: layouts, contents and dtypes of activation-like tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self, assert_never, final

import torch
from torch import Tensor

Layout = Literal["contiguous", "channels_last", "expanded", "cropped"]
"""``expanded``: stride 0 over positions. ``cropped``: a view into a larger tensor, whose rest is NaN."""

Content = Literal["rectified", "signed", "zero", "cancelling", "constant"]
"""``rectified``: noise after ReLU, every fifth channel dead. ``cancelling``: a channel's sum is 0, not its values."""


@final
@dataclass(frozen=True)
class Activations:
    """How to make a tensor ``[n, c, *spatial]``."""

    shape: tuple[int, ...]
    layout: Layout = "contiguous"
    content: Content = "rectified"
    dtype: torch.dtype = torch.float32
    scale: float = 1.0

    def __str__(self) -> str:
        parts = ["x".join(map(str, self.shape))]
        parts += [self.layout] if self.layout != "contiguous" else []
        parts += [self.content] if self.content != "rectified" else []
        parts += [str(self.dtype).removeprefix("torch.")] if self.dtype != torch.float32 else []
        parts += [f"scale{self.scale:g}"] if self.scale != 1.0 else []
        return "-".join(parts)

    @property
    def values(self) -> int:
        """How many values the tensor shows."""
        return torch.Size(self.shape).numel()

    def make(self, device: torch.device | str = "cpu", *, seed: int = 0) -> Tensor:
        """The tensor, the same for the same seed on every device (on "meta": shape and strides alone)."""
        if str(device) == "meta":
            return _laid_out(torch.empty(self.shape, dtype=self.dtype, device="meta"), self.layout, device)
        noise = torch.randn(self.shape, generator=torch.Generator().manual_seed(seed))
        return _laid_out((_filled(noise, self.content) * self.scale).to(self.dtype), self.layout, device)


@dataclass(frozen=True)
class OnActivations:
    """What the cases have in common whose first input is activations."""

    activations: Activations

    @property
    def label(self) -> str:
        """Sizes, layout and dtype of the activations."""
        return str(self.activations).replace("bfloat16", "bf16")

    @property
    def plain(self) -> bool:
        """Whether the activations are contiguous float32."""
        return self.activations.layout == "contiguous" and self.activations.dtype == torch.float32

    def at_most(self, images: int) -> Self:
        """The case with no more images than these."""
        n, *rest = self.activations.shape
        return replace(self, activations=replace(self.activations, shape=(min(n, images), *rest)))


def _filled(noise: Tensor, content: Content) -> Tensor:
    match content:
        case "rectified":
            noise = noise.relu()
            noise[:, 4::5] = 0
            return noise
        case "signed":
            return noise
        case "zero":
            return torch.zeros_like(noise)
        case "constant":
            return torch.ones_like(noise)
        case "cancelling":
            rounded = (noise * 4).round() / 4  # sums of quarters are exact in every dtype
            half = rounded.shape[-1] // 2
            rounded[..., half : 2 * half] = -rounded[..., :half]
            rounded[..., 2 * half :] = 0
            return rounded
        case _:
            assert_never(content)


def _laid_out(values: Tensor, layout: Layout, device: torch.device | str) -> Tensor:
    match layout:
        case "contiguous":
            return values.to(device)
        case "channels_last":
            return values.movedim(1, -1).contiguous().to(device).movedim(-1, 1)
        case "expanded":
            first = values.flatten(2)[:, :, 0].to(device)
            return first.reshape(*first.shape, *[1] * (values.ndim - 2)).expand(values.shape)
        case "cropped":
            room = torch.full(
                [side + 3 for side in values.shape], torch.nan, dtype=values.dtype, device=values.device
            )
            window = tuple(slice(1, side + 1) for side in values.shape)
            room[window] = values
            return room.to(device)[window]
        case _:
            assert_never(layout)

"""Inputs of ``rescale_maps`` that tests, offline compilation and benches share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

GRAD_CAM_EPS = 1e-7


@final
@dataclass(frozen=True)
class Case:
    """Raw maps of one or several layers, sides in ``layers``, and the size to reach."""

    layers: tuple[tuple[int, ...], ...]
    size: tuple[int, ...]
    images: int = 7
    eps: float = 0.0
    special: bool = True
    """Whether some of the maps are special, where there are 7 at least."""

    def __str__(self) -> str:
        return f"{self.label}-to-{'x'.join(map(str, self.size))}-eps{self.eps:g}"

    @property
    def plain(self) -> bool:
        """Always contiguous float32."""
        return True

    @property
    def label(self) -> str:
        """Images and sides of the layers."""
        return f"{self.images}x{'+'.join('x'.join(map(str, sides)) for sides in self.layers)}"

    def at_most(self, images: int) -> Case:
        """The case with no more images than these."""
        return replace(self, images=min(self.images, images))

    def make(self, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """One tensor for each layer; images that are special are so in the same way in each.

        Image 1 is negative, 2 a positive constant, 3 holds a NaN, 4 an infinity, 5 is tiny.
        """
        generator = torch.Generator().manual_seed(0)
        raws: list[Tensor] = []
        for sides in self.layers:
            raw = torch.randn(self.images, *sides, generator=generator)
            if self.special and self.images >= 7:
                raw[1], raw[2], raw[5] = -raw[1].abs(), 3.0, raw[5] * 1e-20
                raw[3].view(-1)[-1], raw[4].view(-1)[0] = torch.nan, -torch.inf
            raws.append(raw.to(device))
        return tuple(raws)


CASES = (
    Case(((7, 7),), (40, 31)),
    Case(((7, 7),), (40, 31), eps=GRAD_CAM_EPS),
    Case(((1, 1),), (5, 4)),
    Case(((1, 9),), (6, 9)),
    Case(((5, 6),), (5, 6)),
    Case(((33, 41),), (3, 2)),
    Case(((9, 8),), (1, 1)),
    Case(((7, 7), (14, 14)), (33, 33)),
    Case(((7, 7), (14, 14), (1, 1)), (33, 33), eps=GRAD_CAM_EPS),
    Case(((7, 7),), (224, 224)),
    Case(((112, 112),), (224, 224)),
    Case(((3, 4, 5),), (6, 7, 8)),
    Case(((7, 7),), (9, 9), images=256),
)

BENCH_CASES = tuple(
    Case((sides,), (224, 224), images=64, special=False) for sides in ((7, 7), (14, 14), (56, 56))
)

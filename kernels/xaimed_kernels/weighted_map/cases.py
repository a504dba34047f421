"""Inputs of ``weighted_map`` that tests, offline compilation and benches share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from xaimed_kernels.inputs import Activations, OnActivations


@final
@dataclass(frozen=True)
class Case(OnActivations):
    """Activations, and weights ``[n, c]`` or, ``by_position``, like the activations."""

    by_position: bool = False

    def __str__(self) -> str:
        return f"{self.activations}-{'n-c-s' if self.by_position else 'n-c'}"

    def make(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Activations and weights."""
        shape = self.activations.shape
        like = Activations(shape if self.by_position else (*shape[:2], 1), content="signed")
        weights = like.make(device, seed=2)
        return self.activations.make(device, seed=1), weights if self.by_position else weights[:, :, 0]


CASES = (
    *(
        Case(Activations(shape))
        for shape in (
            (1, 1, 1, 1),
            (3, 600, 1, 1),
            (2, 37, 7, 7),
            (1, 4096, 2, 1),
            (256, 2, 2, 2),
            (2, 5, 3, 4, 5),
            (1, 3, 33, 31),
            (4, 2048, 7, 7),
            (1, 5, 112, 112),
            (1, 4, 24, 28, 32),
        )
    ),
    *(Case(Activations((2, 37, 9, 7), layout)) for layout in ("channels_last", "expanded", "cropped")),
    *(
        Case(Activations((2, 37, 9, 7), layout), by_position=True)
        for layout in ("contiguous", "channels_last")
    ),
    *(Case(Activations((2, 9, 6, 5), dtype=dtype)) for dtype in (torch.bfloat16, torch.float16)),
    *(Case(Activations((2, 9, 6, 5), content=content)) for content in ("signed", "zero", "constant")),
)

BENCH_CASES = tuple(
    Case(Activations(shape, layout))
    for shape in ((256, 2048, 7, 7), (64, 1024, 14, 14), (64, 256, 56, 56))
    for layout in ("contiguous", "channels_last")
)
"""Layers of ResNet-50 at batches beyond a GPU's L2."""

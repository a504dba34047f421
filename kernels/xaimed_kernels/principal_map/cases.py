"""Inputs of ``principal_map`` that tests, offline compilation and benches share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never, final

import torch
from torch import Tensor

from xaimed_kernels.inputs import Activations, OnActivations

Weights = Literal["none", "n c", "n c s"]


@final
@dataclass(frozen=True)
class Case(OnActivations):
    """Activations in which one pattern of positions stands out, so that eigenvalues are separated."""

    weights: Weights = "n c s"
    offset: float = 0.0
    """Added to every activation: centring has to take it out again."""

    def __str__(self) -> str:
        return f"{self.activations}-{self.weights.replace(' ', '-')}-offset{self.offset:g}"

    def make(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor | None]:
        """Activations and weights; activations are noise and a pattern of 3 times its size, channel by channel."""
        noise = self.activations.make(device, seed=1)
        shape = self.activations.shape
        pattern = Activations((shape[0], 1, *shape[2:]), content="signed").make(device, seed=3)
        strength = Activations((*shape[:2], *[1] * (len(shape) - 2))).make(device, seed=4)
        planted = 3 * self.activations.scale * pattern * strength
        activations = (noise + planted + self.offset).to(noise.dtype)
        # the sum is laid out as the noise is, except for views that a sum makes dense
        return activations, self._weights(device)

    def _weights(self, device: torch.device | str) -> Tensor | None:
        shape, layout = self.activations.shape, self.activations.layout
        match self.weights:
            case "none":
                return None
            case "n c":
                return 1 + Activations((*shape[:2], 1)).make(device, seed=2)[:, :, 0]
            case "n c s":
                return 1 + Activations(shape, layout, dtype=self.activations.dtype).make(device, seed=2)
            case _:
                assert_never(self.weights)


CASES = (
    *(
        Case(Activations(shape))
        for shape in (
            (1, 1, 1, 1),
            (2, 3, 1, 1),
            (2, 1, 4, 5),
            (2, 40, 3, 3),
            (2, 130, 7, 7),
            (1, 5, 9, 8),
            (1, 300, 9, 9),
            (1, 70, 11, 9),
            (2, 5, 3, 4, 5),
            (4, 2048, 7, 7),
            (2, 1024, 14, 14),
            (2, 256, 40, 40),
        )
    ),
    *(Case(Activations((1, 40, 3, 3)), weights) for weights in ("none", "n c")),
    *(Case(Activations((1, 5, 9, 8)), weights) for weights in ("none", "n c")),
    *(Case(Activations(shape, "channels_last")) for shape in ((1, 40, 3, 3), (1, 5, 9, 8))),
    *(Case(Activations((1, 40, 3, 3), dtype=dtype)) for dtype in (torch.bfloat16, torch.float16)),
    *(Case(Activations((1, 40, 3, 3), scale=scale)) for scale in (1e-15, 1e12)),
    *(Case(Activations(shape), "none", offset=30.0) for shape in ((1, 40, 3, 3), (1, 5, 9, 8))),
)

BENCH_CASES = tuple(
    Case(Activations(shape)) for shape in ((64, 2048, 7, 7), (64, 1024, 14, 14), (64, 512, 28, 28))
)
"""Layers of ResNet-50 at batch 64."""

LARGEST = Case(Activations((1, 4096, 64, 64)))
"""The largest Gram matrix that layers up to 4096 channels have: compiled, too slow to test everywhere."""

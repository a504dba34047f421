"""Inputs of ``gradient_maps`` that tests, offline compilation and benches share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from xaimed_kernels.gradient_maps.formula import Formula
from xaimed_kernels.inputs import Activations, Layout, OnActivations


def _mean(a: Any, g: Any, total: Any, positions: int) -> Any:
    return total(g) / positions


def _ratio(a: Any, g: Any, total: Any, positions: int) -> Any:
    """A quotient of two totals, 0 where the signed one cancels."""
    signed = total(a)
    defined = signed.abs() > 1e-6 * total(a.abs())
    return defined * total(a * g) / (signed + (defined == 0))


def _nested(a: Any, g: Any, total: Any, positions: int) -> Any:
    """A total inside a total."""
    return total(g.relu() / (2 + total(a).abs() * g.abs()))


def _positive(a: Any, g: Any, total: Any, positions: int) -> Any:
    return g.relu()


def _plain(a: Any, g: Any, total: Any, positions: int) -> Any:
    return g


FORMULAS = {
    formula.name: formula
    for formula in (
        Formula("mean", _mean, per_channel=True),
        Formula("ratio", _ratio, per_channel=True),
        Formula("nested", _nested, per_channel=True),
        Formula("positive", _positive, per_channel=False),
        Formula("plain", _plain, per_channel=False),
    )
}
"""One formula for each thing that formulas do; the methods' own are tested where the methods are."""

THREE = (FORMULAS["ratio"], FORMULAS["nested"], FORMULAS["positive"])
"""Alike to XGradCAM, GradCAM++ and LayerCAM in one call."""


@final
@dataclass(frozen=True)
class Case(OnActivations):
    """Activations, the layout of the gradients, and formulas."""

    gradients: Layout = "contiguous"
    formulas: tuple[Formula, ...] = THREE

    def __str__(self) -> str:
        names = "+".join(formula.name for formula in self.formulas)
        return f"{self.activations}~{self.gradients}-{names}"

    def make(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Activations and gradients."""
        gradients = replace(self.activations, layout=self.gradients, content="signed", scale=1e-3)
        return self.activations.make(device, seed=1), gradients.make(device, seed=2)


SHAPES = (
    (1, 1, 1, 1),
    (2, 3, 1, 1),
    (3, 600, 1, 1),
    (1, 1, 5, 7),
    (2, 37, 7, 7),
    (5, 9, 3, 2),
    (2, 6, 14, 14),
    (1, 3, 33, 31),
    (1, 4096, 2, 1),
    (256, 2, 2, 2),
    (2, 5, 3, 4, 5),
    (1, 3, 11),
)
"""From one value to 4096 channels and 256 images, odd sides, one, two and three dimensions."""

LARGE_SHAPES = ((4, 2048, 7, 7), (2, 1024, 14, 14), (2, 256, 56, 56), (1, 5, 112, 112), (1, 4, 24, 28, 32))
"""Layers as they occur; 112 x 112 is the largest tile, the volume is beyond it."""

CASES = (
    *(Case(Activations(shape)) for shape in (*SHAPES, *LARGE_SHAPES)),
    *(Case(Activations((2, 37, 7, 7), layout), "channels_last") for layout in ("channels_last", "cropped")),
    *(
        Case(Activations(shape, "channels_last"), "channels_last")
        for shape in ((1, 6, 14, 14), (1, 3, 33, 33))
    ),
    Case(Activations((2, 37, 7, 7)), "expanded"),
    Case(Activations((2, 37, 7, 7), "cropped"), "cropped"),
    *(Case(Activations((2, 9, 6, 5), dtype=dtype)) for dtype in (torch.bfloat16, torch.float16)),
    Case(
        Activations((2, 7, 6, 5), content="signed")
    ),  # whose sums keep 1/16: what cancels more loses float32's digits
    *(Case(Activations((2, 9, 6, 5), content=content)) for content in ("zero", "cancelling", "constant")),
    *(Case(Activations((2, 9, 6, 5), scale=scale)) for scale in (1e-12, 1e6)),
    *(Case(Activations((2, 9, 6, 5)), formulas=(formula,)) for formula in FORMULAS.values()),
    Case(Activations((2, 9, 6, 5)), formulas=tuple(FORMULAS.values())),
)

BENCH_CASES = tuple(
    Case(Activations(shape, layout, dtype=dtype), layout)
    for shape in (
        (64, 2048, 7, 7),
        (64, 1024, 14, 14),
        (64, 512, 28, 28),
        (64, 256, 56, 56),
        (64, 64, 112, 112),
    )
    for layout in ("contiguous", "channels_last")
    for dtype in (torch.float32, torch.bfloat16)
)
"""Layers of ResNet-50 and VGG-16, at batches beyond a GPU's L2."""

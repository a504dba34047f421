"""Whose arithmetic the maps follow: the papers' definitions, or the grad-cam package with its epsilons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from xaimed_kernels.gradient_maps import Formula

SemanticsName = Literal["definition", "grad-cam"]


@final
@dataclass(frozen=True)
class Semantics:
    """What may differ between two readings of the same methods.

    formulas: the weighing formulas that replace a method's own, by method name.
    min_max_eps: added to the range when a map is scaled to [0, 1]; 0 keeps the scaling free of units.
    divide_by_score: whether AblationCAM's drops are divided by the score, which inverts the map where it is negative.
    align_mask_corners: whether ScoreCAM's masks are upsampled from corner to corner instead of by pixel areas.
    """

    formulas: Mapping[str, Formula] = field(default_factory=dict[str, Formula])
    min_max_eps: float = 0.0
    divide_by_score: bool = False
    align_mask_corners: bool = False


def semantics_of(name: SemanticsName) -> Semantics:
    """The semantics of that name. Raises ValueError for another name."""
    if name == "definition":
        return Semantics()
    if name == "grad-cam":
        from xaimed_core.epsilons import GRAD_CAM_FORMULAS, MIN_MAX_EPS

        return Semantics(GRAD_CAM_FORMULAS, MIN_MAX_EPS, divide_by_score=True, align_mask_corners=True)
    raise ValueError(f'no semantics {name!r}; choose "definition" or "grad-cam"')

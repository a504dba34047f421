"""Whose arithmetic the maps follow: the papers' definitions, or the grad-cam package with its epsilons.

An epsilon is what grad-cam 1.5.7 adds to keep a division finite. Each is absolute, so that maps depend on the units
of activations and scores: at a ResNet-50's last layer the 1e-6 of GradCAM++ outweighs g^2 (about 4e-7) and leaves a
quarter of the weight. The definitions in `xaimed_core.methods` have none; ``semantics="grad-cam"`` puts them in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, final

from xaimed_kernels.gradient_maps import Formula

SemanticsName = Literal["definition", "grad-cam"]

MIN_MAX_EPS: Final = 1e-7
"""``utils.image.scale_cam_image``: (x - min) / (eps + max of that), per layer and again for their mean."""

SHARE_EPS: Final = 1e-9
"""``FinerWeightedTarget``: beside the sum of the compared classes' probabilities."""

MASK_EPS: Final = 1e-8
"""``ScoreCAM``: beside the range of an upsampled channel."""

Tile = Any


def _gradcam_plus_plus(a: Tile, g: Tile, total: Any, positions: int) -> Tile:
    """``GradCAMPlusPlus``: eps 1e-6 beside 2 g^2 + sum(A) g^3."""
    rising = g.relu()  # a falling g weighs 0 there too, but for 0 / 0 where its denominator vanishes
    squared = rising * rising
    return total(squared * rising / (2 * squared + total(a) * squared * rising + 1e-6))


def _xgradcam(a: Tile, g: Tile, total: Any, positions: int) -> Tile:
    """``XGradCAM``: eps 1e-7 beside the signed sum of A."""
    return total(a * g) / (total(a) + 1e-7)


GRAD_CAM_FORMULAS: Final[Mapping[str, Formula]] = {
    "gradcam++": Formula("gradcam++ of grad-cam", _gradcam_plus_plus, per_channel=True),
    "xgradcam": Formula("xgradcam of grad-cam", _xgradcam, per_channel=True),
}
"""Where grad-cam's own arithmetic differs from a method's definition, by the method's name in `METHODS`."""


@final
@dataclass(frozen=True)
class Semantics:
    """What may differ between two readings of the same methods.

    formulas: the weighing formulas that replace a method's own, by method name.
    min_max_eps: added to the range when a map is scaled to [0, 1]; 0 keeps the scaling free of units.
    share_eps: added to the sum of the probabilities by which FinerCAM weighs the classes it compares with.
    mask_eps: added to the range when a channel is scaled to be a mask of ScoreCAM.
    divide_by_score: whether AblationCAM's drops are divided by the score, which inverts the map where it is negative.
    align_mask_corners: whether ScoreCAM's masks are upsampled from corner to corner instead of by pixel areas.
    """

    formulas: Mapping[str, Formula] = field(default_factory=dict[str, Formula])
    min_max_eps: float = 0.0
    share_eps: float = 0.0
    mask_eps: float = 0.0
    divide_by_score: bool = False
    align_mask_corners: bool = False


def semantics_of(name: SemanticsName) -> Semantics:
    """The semantics of that name. Raises ValueError for another name."""
    if name == "definition":
        return Semantics()
    if name == "grad-cam":
        return Semantics(
            GRAD_CAM_FORMULAS,
            MIN_MAX_EPS,
            SHARE_EPS,
            MASK_EPS,
            divide_by_score=True,
            align_mask_corners=True,
        )
    raise ValueError(f'no semantics {name!r}; choose "definition" or "grad-cam"')

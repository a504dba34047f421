"""As ``pytorch_grad_cam.finer_cam``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from torch import Tensor, nn

from xaimed_core.classes import whole_number
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.block import Block
from xaimed_core.compat.base_cam import BaseCAM, Maps
from xaimed_core.compat.grad_cam import GradCAM
from xaimed_core.compat.utils.model_targets import FinerWeightedTarget
from xaimed_core.numbers_given import is_real, is_whole
from xaimed_core.targets import ScoreFunction

DEFAULT_COMPARISON_CATEGORIES = (1, 2, 3)


def _are_places(given: Any) -> bool:
    return isinstance(given, Sequence | np.ndarray) and all(is_whole(place) and place >= 1 for place in given)


@final
@dataclass(frozen=True)
class Finer:
    """FinerCAM's score of an output row: its class against those of nearest score, found in the row itself.

    ``places``: which of the others, in the order of nearness, 1 the nearest; None for the first three.
    """

    alpha: float
    places: Sequence[int] | None
    category: int | None

    def __call__(self, model_output: Tensor) -> Tensor:
        """The score ``[]`` of a row ``[classes]``."""
        count = len(model_output)
        main = int(model_output.argmax()) if self.category is None else whole_number(self.category)
        if not 0 <= main < count or count < 2:
            raise IndexError(
                f"class {main} of {count} was to be compared; give one that there is beside another"
            )
        apart = (model_output - model_output[main]).detach().abs()
        apart[main] = -1  # the class itself comes first, whatever ties with it
        nearest = apart.argsort(stable=True).tolist()
        places = DEFAULT_COMPARISON_CATEGORIES if self.places is None else self.places
        others = [nearest[place] for place in places if place < count]
        return FinerWeightedTarget(nearest[0], others, self.alpha)(model_output)


class FinerCAM(Block):
    """A method of ``base_method`` for what sets a class apart from those most alike, in one forward.

    As in grad-cam, targets that are given are explained as they are; ``comparison_categories``, ``alpha`` and
    ``target_idx`` serve where they are None.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        base_method: type[BaseCAM] = GradCAM,
    ) -> None:
        self.base_cam = base_method(model, target_layers, reshape_transform)
        self.compute_input_gradient = self.base_cam.compute_input_gradient
        self.uses_gradients = self.base_cam.uses_gradients

    def __call__(self, *args: Any, **kwargs: Any) -> Maps:
        """As `forward`."""
        return self.forward(*args, **kwargs)

    def forward(
        self,
        input_tensor: Tensor,
        targets: Sequence[ScoreFunction] | None = None,
        eigen_smooth: bool = False,
        alpha: float = 1,
        comparison_categories: Sequence[int] | None = None,
        target_idx: int | None = None,
    ) -> Maps:
        """Maps float32 ``[n, height, width]`` in [0, 1]."""
        if not is_real(alpha):
            raise TypeError(f"alpha must be a number, 1 for the whole difference, got {alpha!r}")
        if comparison_categories is not None and not _are_places(comparison_categories):
            raise ValueError(
                "comparison_categories must be places in the order of nearness, e.g. [1, 2], 1 the nearest class; "
                f"got {comparison_categories!r:.60}"
            )
        if targets is None:
            targets = [Finer(alpha, comparison_categories, target_idx)] * len(input_tensor)
        return self.base_cam.forward(input_tensor, targets, eigen_smooth)

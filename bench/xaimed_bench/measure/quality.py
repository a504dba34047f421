"""What maps are worth on a network that has learnt something: agreement, deletion, insertion, lesions found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from xaimed_bench.measure.fidelity import of_maps
from xaimed_core.faithfulness import METRICS, evaluate
from xaimed_core.faithfulness.evaluation import with_removal
from xaimed_core.faithfulness.metric import Remove
from xaimed_reports.store.records import Quality

REMOVED = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Fractions of the pixels: lesions take a few percent, where maps differ most."""
EXACT = "ablationcam"


@final
@dataclass(frozen=True)
class Scene:
    """Images ``[n, 3, h, w]`` to judge maps on, the class explained of each, and the lesions ``[n, h, w]`` if known."""

    words: str
    network: str
    images: Tensor
    classes: tuple[int, ...]
    lesions: Tensor | None = None

    def on(self, device: torch.device) -> Scene:
        """The same on another device."""
        lesions = self.lesions.to(device) if self.lesions is not None else None
        return replace(self, images=self.images.to(device), lesions=lesions)


def judge_maps(method: str, maps: Mapping[str, Tensor], model: nn.Module, scene: Scene) -> Quality:
    """Judge the maps ``[n, h, w]`` of ``method`` among ``maps``, which hold exact AblationCAM's too."""
    mine = maps[method]
    lesions = scene.lesions
    return Quality(
        images=scene.words,
        network=scene.network,
        agreement=of_maps(mine, maps[EXACT]),
        deletion=_area("deletion", mine, model, scene),
        insertion=_area("insertion", mine, model, scene),
        in_lesion=_mass(mine, lesions) if lesions is not None else (),
        lesion_area=tuple(lesions.float().mean((1, 2)).tolist()) if lesions is not None else (),
    )


def _area(name: str, maps: Tensor, model: nn.Module, scene: Scene) -> tuple[float, ...]:
    metric = METRICS[name]
    assert isinstance(metric.perturbation, Remove)
    metric = with_removal(metric, metric.perturbation.removal, REMOVED)
    return tuple(evaluate(metric, model, scene.images, maps, targets=list(scene.classes)).score.tolist())


def _mass(maps: Tensor, lesions: Tensor) -> tuple[float, ...]:
    """The part of each map's sum that lies inside; 0 for an empty map."""
    whole = maps.sum((1, 2))
    inside = torch.where(lesions, maps, 0.0).sum((1, 2))
    return tuple(torch.where(whole > 0, inside / whole, 0.0).tolist())

"""Which channels are ablated, and what is read from a change of the logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never, final

from torch import Tensor

from xaimed_core.methods import AblationValue
from xaimed_core.targets import FunctionTargets


@final
@dataclass(frozen=True)
class Ablations:
    """``channel [r]`` of ``image [r]`` takes ``value``; int64, sorted by image."""

    image: Tensor
    channel: Tensor
    value: AblationValue

    def __len__(self) -> int:
        return len(self.image)


@final
@dataclass(frozen=True)
class OneClass:
    """The drop of each image's class ``index [n]``, less that of class ``against [n]`` where given."""

    index: Tensor
    against: Tensor | None = None

    def of(self, logits: Tensor, image: Tensor) -> Tensor:
        """From rows ``[r, classes]`` of ``image [r]``, ``[r]``."""
        chosen = logits.gather(1, self.index[image].unsqueeze(1)).squeeze(1)
        if self.against is None:
            return chosen
        return chosen - logits.gather(1, self.against[image].unsqueeze(1)).squeeze(1)


@final
@dataclass(frozen=True)
class AllClasses:
    """The drops of all classes."""


@final
@dataclass(frozen=True)
class Scores:
    """The drop of a score function of the output ``logits [n, ...]``: it needs whole outputs."""

    targets: FunctionTargets
    logits: Tensor


Outcome = OneClass | AllClasses | Scores


def read_drops(outcome: Outcome, change: Tensor, image: Tensor) -> Tensor:
    """Drops ``[r]`` (``[r, ...]`` for all classes) from changes ``[r, ...]`` of the logits of ``image [r]``."""
    match outcome:
        case OneClass():
            return -outcome.of(change, image)
        case AllClasses():
            return -change
        case Scores(targets, logits):
            before = logits[image]
            return targets.score(before, image) - targets.score(before + change, image)
        case _:
            assert_never(outcome)

"""What a tail is: the part of a network after a layer, asked what each channel of the layer is worth."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, final

from torch import Tensor

from xaimed_core.explanation import Route
from xaimed_core.isolation.subject import Subject
from xaimed_core.methods import AblationValue
from xaimed_core.targets import Targets


@final
@dataclass(frozen=True)
class ChannelDrops:
    """What the score loses when a channel is ablated, Desai and Ramaswamy 2020 (WACV), eq. 2 without its division.

    drops: float32 ``[n, c]``, ``y - y_k``: the score minus the score with channel k replaced everywhere.
    scores: float32 ``[n]``, ``y``.
    route: what ran, and why nothing cheaper did.
    """

    drops: Tensor
    scores: Tensor
    route: Route


class Tail(Protocol):
    """The network from the layer's output on, for the images of one forward."""

    def drops(self, targets: Targets, *, value: AblationValue = "zero") -> ChannelDrops:
        """Ablate each channel of each image and report what the score loses."""
        ...


class TailObserver(Protocol):
    """Looks on during the one forward that is needed anyway, and knows the tail afterwards."""

    @property
    def hooks_everything(self) -> bool:
        """Whether it looks at every module of the model, not only at the layer."""
        ...

    @property
    def keeps_graph(self) -> bool:
        """Whether it differentiates what the forward returned, afterwards."""
        ...

    def watching(self, subject: Subject) -> AbstractContextManager[None]:
        """Entered around the whole forward of ``subject``; entering again forgets the forward before."""
        ...

    def at_layer(self, activation: Tensor) -> AbstractContextManager[object]:
        """Entered in the layer's forward hook with the tensor that the tail is about to consume, left at the end."""
        ...

    def returned(self, logits: Tensor) -> None:
        """Given what targets read in the model's output ``[n, ...]``, once the forward is over."""
        ...

    def tail(self) -> Tail:
        """The tail, once the forward is over. Raises RuntimeError before that."""
        ...

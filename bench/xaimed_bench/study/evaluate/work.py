"""What is evaluated, and its images batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from xaimed_bench.data import Normalisation
from xaimed_bench.data.sets import Item
from xaimed_bench.data.stream import Batch, stream
from xaimed_bench.study.evaluate.settings import Settings
from xaimed_bench.study.train.team import Team


@final
@dataclass(frozen=True)
class Work:
    """What is evaluated, and by which of the processes that share the work."""

    model: nn.Module
    normalisation: Normalisation
    items: Sequence[Item]
    settings: Settings
    team: Team
    workers: int = 0

    @property
    def batches(self) -> int:
        return -(-len(self.items) // self.settings.batch)


def first_images(work: Work) -> Tensor:
    """The first batch of which an image can be read, on the device, to time methods with; empty without any."""
    batch = next(read_images(work, range(len(work.items))), None)
    return torch.empty(0) if batch is None else batch.images.to(work.team.device)


def read_images(work: Work, order: Sequence[int], items: Sequence[Item] | None = None) -> Iterator[Batch]:
    """These images, of ``items`` or those of the work, as the network reads them; unreadable ones left out."""
    asked = work.settings
    return stream(
        work.items if items is None else items, asked.classes, size=asked.size, normalisation=work.normalisation,
        batch=asked.batch, order=order, on_unreadable=lambda _: None,
    )  # fmt: skip

"""The images of a training: which there are, and the batches that each process sees."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from xaimed_bench.data import Normalisation
from xaimed_bench.data.sets import ImageSet, Item, SplitName
from xaimed_bench.data.stream import Batch, Unreadable, stream
from xaimed_bench.study.train.recipe import order_of
from xaimed_bench.study.train.team import Team
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError


@final
@dataclass(frozen=True)
class Machine:
    """What computes. ``half``: forwards in bfloat16 where torch holds that safe (autocast)."""

    team: Team
    half: bool = False
    workers: int = 0

    def seen(self, images: Tensor) -> Tensor:
        """The images where and as the network reads them."""
        return images.to(self.team.device, memory_format=torch.channels_last)

    def forward(self, model: nn.Module, images: Tensor) -> Tensor:
        """What the model gives for images on its device, as float32."""
        with torch.autocast(self.team.device.type, torch.bfloat16, enabled=self.half):
            return model(images).float()


def computes_half(device: torch.device) -> bool:
    """Whether bfloat16 is in the hardware, and not slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


@final
@dataclass(frozen=True)
class Images:
    """A set's images of known classes, as one network reads them. ``unreadable``: name to why, as far as is known."""

    images: ImageSet
    size: int
    normalisation: Normalisation
    unreadable: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Raise UnusableError for a set that nothing can be learnt from."""
        named, there = self.images.classes, {item.label for item in self.split("training")}
        if len(named) < 2:
            raise UnusableError(
                f"{self.images.folder} needs images of two classes at least; it has {len(named)}"
            )
        if missing := [name for name in named if name not in there]:
            raise UnusableError(
                f"{self.images.folder} has no training image of the class {', '.join(missing)}"
            )

    def split(self, which: SplitName) -> tuple[Item, ...]:
        return tuple(item for item in self.images.split(which) if item.label is not None)

    def stream(
        self, items: Sequence[Item], machine: Machine, *, batch: int = 32, order: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        return stream(
            items, self.images.classes, size=self.size, normalisation=self.normalisation, batch=batch,
            workers=machine.workers, order=order, on_unreadable=self._leave_out,
        )  # fmt: skip

    def _leave_out(self, found: Unreadable) -> None:
        if found.name not in self.unreadable:
            self.unreadable[found.name] = found.why
            say(f"note: {found.name} is left out: {found.why}", sys.stderr)


def batches_of(count: int, batch: int) -> list[slice]:
    """The batches of an epoch. A last one of a single image is left out, for BatchNorm cannot learn from it."""
    whole = [slice(start, min(start + batch, count)) for start in range(0, count, batch)]
    return [part for part in whole if part.stop - part.start > 1 or count == 1]


def epoch_from(
    data: Images, machine: Machine, batch: int, seed: int, epoch: int, first: int
) -> Iterator[Batch | None]:
    """This process's part of every batch of an epoch from number ``first`` on; None where nothing of it can be read."""
    items, team = data.split("training"), machine.team
    order = order_of(seed, epoch, len(items))
    parts = [order[part][team.rank :: team.size] for part in batches_of(len(items), batch)[first:]]
    number = {row: k for k, part in enumerate(parts) for row in part}
    largest = len(range(team.rank, batch, team.size))
    found = data.stream(items, machine, batch=largest, order=list(number)) if number else iter(())
    waiting = next(found, None)
    for k in range(len(parts)):
        if waiting is None or number[int(waiting.index[0])] != k:
            yield None
            continue
        yield waiting
        waiting = next(found, None)


@final
@dataclass(frozen=True)
class Outputs:
    """Logits ``[n, classes]`` of items, their ``labels [n]``, and which could be read, ``there [n]``."""

    logits: Tensor
    labels: Tensor
    there: Tensor

    def of(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Logits and labels of those of these rows that could be read."""
        kept = torch.tensor([row for row in rows if self.there[row]], dtype=torch.long)
        return self.logits[kept], self.labels[kept]


def outputs_of(model: nn.Module, data: Images, items: Sequence[Item], machine: Machine) -> Outputs:
    """What the network answers to every item, shared out among the processes; in evaluation mode."""
    model.eval()
    team = machine.team
    logits = torch.zeros(len(items), len(data.images.classes))
    there, labels = torch.zeros(len(items)), torch.zeros(len(items), dtype=torch.long)
    with torch.no_grad():
        for batch in data.stream(items, machine, order=range(team.rank, len(items), team.size)):
            logits[batch.index] = machine.forward(model, machine.seen(batch.images)).cpu()
            there[batch.index], labels[batch.index] = 1.0, batch.labels
    return Outputs(team.total(logits), team.total(labels), team.total(there).bool())

"""Processes that train one network together, started by torchrun; a single one without it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import final

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(days=1)
"""How long a process waits for another. torch's 10 or 30 minutes are too short where one has more to do: shares of an
evaluation differ, and thresholds are found by the first process alone. When a process dies, torchrun ends the others
at once; this limit is for a machine that vanishes without a word."""


@final
@dataclass(frozen=True)
class Team:
    """One process and its place among ``size``. The first one, which leads, writes and prints."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def total(self, part: Tensor) -> Tensor:
        """The sum over all processes, in the memory it came from."""
        if self.size == 1:
            return part
        summed = part.to(self.device, copy=True)
        distributed.all_reduce(summed)
        return summed.to(part.device)

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()

    def together(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are means over all processes; its parameters are those of ``model``.

        On GPUs BatchNorm sees the batches of all processes. On CPUs, where torch has no such, each sees its own part.
        """
        if self.size == 1:
            return model
        if self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return DistributedDataParallel(model, [self.device] if self.device.type == "cuda" else None)


@contextmanager
def team_on(device: torch.device) -> Generator[Team]:
    """The processes that torchrun started: over gloo, or over NCCL with a GPU of its own for each."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Team(device, distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()

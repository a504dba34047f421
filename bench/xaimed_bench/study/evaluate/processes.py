"""Several processes of torchrun, on one machine or several that share the output's folder."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import distributed

from xaimed_bench.study.evaluate.shards import Process
from xaimed_reports.store.jsonform import UnusableError


@contextmanager
def processes(on_cuda: bool) -> Generator[Process]:
    """This process among those that torchrun started (gloo, nccl on CUDA); alone where it started none."""
    if "WORLD_SIZE" not in os.environ:
        yield Process()
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_cuda else "gloo")
    try:
        yield Process(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def local_rank() -> int:
    """The place of this process on its machine, which is that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def wait(process: Process) -> None:
    """Until all processes are here."""
    if process.world > 1:
        distributed.barrier()


def agree(process: Process, what: Any, error: UnusableError | None) -> None:
    """Raise the error of any process in all, and UnusableError where ``what`` differs between them."""
    if process.world == 1:
        if error is not None:
            raise error
        return
    found: list[Any] = [None] * process.world
    distributed.all_gather_object(found, (what, None if error is None else str(error)))
    if said := [text for _, text in found if text is not None]:
        raise UnusableError(said[0])
    if any(each != found[0][0] for each, _ in found):
        raise UnusableError("the processes see other images, weights or versions; give all of them the same")

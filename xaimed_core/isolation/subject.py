"""What is run in place of the caller's model: a replica, or, where none can stand for it, the model itself."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from xaimed_core.isolation.replica import NotReplicableError, Replica, replicate

if TYPE_CHECKING:
    from xaimed_core.isolation.borrowed import Borrowed

Subject: TypeAlias = "Replica | Borrowed"


def subject_of(model: nn.Module, modules: Iterable[nn.Module] | None = ()) -> Subject:
    """What to run instead of ``model``; hooks may go on ``modules`` and on the model itself, None: on any module."""
    try:
        return replicate(model, modules)
    except NotReplicableError as error:
        from xaimed_core.isolation.borrowed import Borrowed  # few models need it

        return Borrowed(model, f"run on the model itself: {error}")


@contextmanager
def ready(subject: Subject) -> Generator[None]:
    """Entered around forwards of ``subject.root``: evaluation mode, out of inference mode."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        stack.enter_context(subject.running())
        yield


@contextmanager
def undisturbed(subject: Subject, device: torch.device) -> Generator[None]:
    """`ready`, with random numbers as they were.

    Random generators are put back where the model drew from them and no other thread runs. Beside other threads they
    are left alone: rewinding them would have the others draw the same numbers again.
    """
    before = generators(device)
    with ready(subject):
        try:
            yield
        finally:
            if drew_since(before, device):
                _put_back(before, device)


def drew_since(before: tuple[Tensor, ...], device: torch.device) -> bool:
    """Whether this thread drew random numbers; no where another may have."""
    if threading.active_count() > 1 or not before:
        return False
    return not all(map(torch.equal, before, generators(device)))


def generators(device: torch.device) -> tuple[Tensor, ...]:
    """The states of the generators that a model on this device draws from; none where other threads may draw."""
    if threading.active_count() > 1:
        return ()
    cpu = torch.get_rng_state()
    return (cpu, torch.cuda.get_rng_state(device)) if device.type == "cuda" else (cpu,)


def _put_back(before: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(before[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(before[1], device)

"""What one forward left behind for its tail, and forwards of our own that record the tail once more."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, nn

from xaimed_core.isolation.subject import Subject, subject_of, undisturbed
from xaimed_core.outputs import OutputChoice, call, rows_of
from xaimed_core.tail.record.calls import Tape
from xaimed_core.tail.record.exits import Recording
from xaimed_core.tail.record.guards import Unsupported
from xaimed_core.tail.record.tape import TapeRecorder


@final
@dataclass(frozen=True)
class Autocast:
    """The autocast state of a device type, to be entered again."""

    device_type: str
    enabled: bool
    dtype: torch.dtype

    @staticmethod
    def now(device: torch.device) -> Autocast:
        """The state in force here."""
        kind = device.type
        return Autocast(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))


@final
@dataclass(frozen=True)
class Capture:
    """One forward: its images, the layer's output ``activation`` and the ``logits [n, ...]`` that targets read.

    model, layer: the caller's; subject: what ran, and runs again, in their place.
    differentiable: the tail ran with autograd, which makes some modules choose other operations.
    output: which of several outputs the logits are.
    """

    model: nn.Module
    layer: nn.Module
    subject: Subject
    images: Tensor
    activation: Tensor
    logits: Tensor
    channel_dim: int
    autocast: Autocast
    differentiable: bool
    output: OutputChoice = None

    @property
    def channels(self) -> int:
        """How many channels the layer has."""
        return self.activation.shape[self.channel_dim]

    def hooking_everything(self) -> Capture:
        """The same with a subject in which every module can be hooked."""
        return replace(self, subject=subject_of(self.model, None))

    @contextmanager
    def running(self) -> Generator[None]:
        """As the forward ran: same autocast, evaluation mode, but no autograd; everything is as before afterwards."""
        with ExitStack() as stack:
            stack.enter_context(undisturbed(self.subject, self.images.device))
            stack.enter_context(torch.no_grad())
            if Autocast.now(self.images.device) != self.autocast:
                kind = self.autocast
                stack.enter_context(torch.autocast(kind.device_type, kind.dtype, kind.enabled))
            yield

    def run(self, images: Tensor) -> Tensor:
        """What targets read in the model's output for images, inside `running`."""
        return rows_of(call(self.subject.root, images), len(images), self.output)[0]

    def returning(
        self, rows: Tensor, at_layer: Callable[[Tensor], Tensor] = torch.clone
    ) -> AbstractContextManager[None]:
        """The layer returns ``at_layer(rows)``, a copy by default, whatever its own hooks did: this one is the last."""

        def give(_module: nn.Module, _inputs: Any, _output: Any) -> Tensor:
            return at_layer(rows)

        return self.subject.on_output(self.layer, give)


def record(capture: Capture, image: Tensor, rows: Tensor) -> tuple[Tensor, Tape | Unsupported]:
    """Logits ``[r, ...]`` of a whole forward of ``image [r]`` in which the layer gives ``rows``, and its tape."""
    recorders: list[TapeRecorder] = []
    refused = Unsupported("nothing was recorded")

    with capture.running(), ExitStack() as stack:

        def start(rows: Tensor) -> Tensor:
            nonlocal refused
            torch.set_grad_enabled(capture.differentiable)
            passed = rows.clone().requires_grad_(capture.differentiable).clone()
            try:
                recorders.append(TapeRecorder(capture.subject.root, passed))
                stack.enter_context(Recording(recorders[-1]))
            except Unsupported as unsupported:
                refused = unsupported
            return passed

        stack.enter_context(capture.returning(rows, start))
        logits = capture.run(capture.images[image])
    try:
        return logits.detach(), recorders[0].tape(logits) if recorders else refused
    except Unsupported as unsupported:
        return logits.detach(), unsupported


def record_copies(capture: Capture, copies: int) -> Tape | Unsupported:
    """The tape of so many copies of the only image, for tails that run other operations for one image alone."""
    image = torch.zeros(copies, dtype=torch.int64, device=capture.activation.device)
    return record(capture, image, capture.activation[image])[1]

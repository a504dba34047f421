"""Forwards of our own that record the tail, besides the one that is needed anyway."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor

from xaimed_core.tail.record.calls import Tape
from xaimed_core.tail.record.guards import Unsupported
from xaimed_core.tail.record.tape import TapeRecorder
from xaimed_core.tail.rerun.capture import Capture
from xaimed_core.tail.rerun.replay import CallRecorder


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
                stack.enter_context(recorders[-1])
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


def record_calls(capture: Capture) -> CallRecorder:
    """Modules' outputs up to the layer; ``capture`` hooks everything."""
    recorder = CallRecorder(capture.subject, capture.model, capture.layer)

    def reach(rows: Tensor) -> Tensor:
        recorder.reach()
        return rows.clone()

    with capture.running(), recorder.recording(), capture.returning(capture.activation, reach):
        capture.run(capture.images)
    return recorder

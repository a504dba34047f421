"""Forwards of our own that record the tail, besides the one that is needed anyway."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_core.tail.calls import Tape
from xaimed_core.tail.capture import Capture, returning
from xaimed_core.tail.guards import Refusal
from xaimed_core.tail.replay import CallRecorder
from xaimed_core.tail.tape import TapeRecorder
from xaimed_core.targets import logits_of


def record(capture: Capture, image: Tensor, rows: Tensor) -> tuple[Tensor, Tape | Refusal]:
    """Logits ``[r, ...]`` of a whole forward of ``image [r]`` in which the layer gives ``rows``, and its tape."""
    recorders: list[TapeRecorder] = []

    def start(rows: Tensor) -> Tensor:
        torch.set_grad_enabled(capture.differentiable)
        passed = rows.clone().requires_grad_(capture.differentiable).clone()
        recorders.append(TapeRecorder(capture.model, passed))
        recorders[-1].__enter__()
        return passed

    with capture.running(), returning(capture.layer, rows, start):
        try:
            logits = logits_of(capture.model(capture.images[image]))
        finally:
            for recorder in recorders:
                recorder.__exit__(None, None, None)
    try:
        return logits.detach(), recorders[0].tape(logits)
    except Refusal as refusal:
        return logits.detach(), refusal


def record_copies(capture: Capture, copies: int) -> Tape | Refusal:
    """The tape of so many copies of the only image, for tails that run other operations for one image alone."""
    image = torch.zeros(copies, dtype=torch.int64, device=capture.activation.device)
    return record(capture, image, capture.activation[image])[1]


def record_calls(capture: Capture) -> CallRecorder:
    """Modules' outputs up to the layer."""
    recorder = CallRecorder(capture.model, capture.layer)

    def reach(rows: Tensor) -> Tensor:
        recorder.reach()
        return rows.clone()

    with capture.running(), recorder.recording(), returning(capture.layer, capture.activation, reach):
        capture.model(capture.images)
    return recorder

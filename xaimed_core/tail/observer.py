"""`observe_tail`: learn the tail from the one forward that is needed anyway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn

from xaimed_core.tail.capture import Autocast, Capture
from xaimed_core.tail.interface import AblationValue, ChannelDrops, ClassDrops, Tail, TailObserver
from xaimed_core.tail.memory import memory_bound
from xaimed_core.tail.replay import CallRecorder, ModuleReplay
from xaimed_core.tail.rows import outputs_by_rows
from xaimed_core.targets import Targets, logits_of


def observe_tail(
    model: nn.Module,
    layer: nn.Module,
    images: Tensor,
    *,
    channel_dim: int = 1,
    memory_bytes: int | None = None,
) -> TailObserver:
    """An observer of ``model(images)`` that can ablate the channels of ``layer``'s output afterwards.

    channel_dim: where that output holds its channels: 1, or -1 for tokens and channels-last layers.
    memory_bytes: the most that chunks of ablations may occupy; None takes half of what the device, the machine
        and the container leave free.
    """
    return _Observer(model, layer, images, channel_dim, memory_bytes)


@final
@dataclass
class _Observer:
    model: nn.Module
    layer: nn.Module
    images: Tensor
    channel_dim: int
    memory_bytes: int | None
    recorder: CallRecorder | None = None
    activation: Tensor | None = None
    random_before: Tensor | None = None
    outputs: list[Any] = field(default_factory=list[Any])
    autocast: Autocast | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """See `TailObserver`."""
        self.activation, self.outputs = None, []
        self.recorder = CallRecorder(self.model, self.layer)
        self.autocast = Autocast.now(self.images.device)

        def keep_output(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            self.outputs.append(output)

        with ExitStack() as stack:
            stack.callback(self.model.register_forward_hook(keep_output).remove)
            stack.enter_context(self.recorder.recording())
            yield

    def at_layer(self, activation: Tensor) -> None:
        """See `TailObserver`."""
        if self.activation is not None:
            raise ValueError(
                "the layer is called more than once in one forward, so that a channel of its output is not one "
                "thing; choose the module around it"
            )
        self.activation = activation.detach().clone()
        if self.recorder is not None:
            self.recorder.reach()

    def tail(self) -> Tail:
        """See `TailObserver`."""
        if self.activation is None or not self.outputs or self.recorder is None or self.autocast is None:
            raise RuntimeError("no forward was watched: run the model inside observer.watching() first")
        logits = logits_of(self.outputs[-1]).detach()
        capture = Capture(
            self.model, self.layer, self.images, self.activation, logits, self.channel_dim, self.autocast
        )
        per_row = 2 * (self.recorder.tail_bytes + self.activation.nbytes) // len(self.images)
        runner = ModuleReplay(capture, tuple(self.recorder.calls), per_row)
        return _Replayed(capture, runner, self.memory_bytes)


@final
@dataclass(frozen=True)
class _Replayed:
    capture: Capture
    runner: ModuleReplay
    memory_bytes: int | None

    def drops(
        self, targets: Targets, *, value: AblationValue = "zero", channels: Tensor | None = None
    ) -> ChannelDrops:
        """See `Tail`."""
        logits = self.capture.logits.float()
        scores = targets.score(logits, torch.arange(len(logits), device=logits.device)).detach()
        ablated = self._each(value, channels, lambda rows, image: targets.score(rows.float(), image))
        return ChannelDrops(scores.unsqueeze(1) - ablated, scores, self.runner.name)

    def class_drops(self, *, value: AblationValue = "zero", channels: Tensor | None = None) -> ClassDrops:
        """See `Tail`."""
        logits = self.capture.logits.float()
        ablated = self._each(value, channels, lambda rows, _image: rows.float())
        return ClassDrops(logits.unsqueeze(1) - ablated, logits, self.runner.name)

    def _each(self, value: AblationValue, channels: Tensor | None, read: Any) -> Tensor:
        device = self.capture.activation.device
        chosen = (
            torch.arange(self.capture.channels, device=device) if channels is None else channels.to(device)
        )
        bound = memory_bound(device, self.memory_bytes)
        return outputs_by_rows(self.capture, self.runner, value, chosen, bound, read)

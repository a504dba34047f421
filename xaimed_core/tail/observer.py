"""`observe_tail`: learn the tail from the one forward that is needed anyway."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, assert_never, final

import torch
from torch import Tensor, nn

from xaimed_core.memory import memory_bound
from xaimed_core.tail.calls import Tape
from xaimed_core.tail.capture import Autocast, Capture
from xaimed_core.tail.decide import RowsDecision, decide, mechanism, recall, remember
from xaimed_core.tail.guards import Refusal
from xaimed_core.tail.interface import AblationValue, ChannelDrops, ClassDrops, Tail, TailObserver
from xaimed_core.tail.mechanisms import Mechanism
from xaimed_core.tail.outcomes import Ablations, AllClasses, OneClass, Outcome, Scores
from xaimed_core.tail.replay import CallRecorder
from xaimed_core.tail.tape import TapeRecorder
from xaimed_core.tail.values import exact
from xaimed_core.targets import ClassTargets, ContrastTargets, FunctionTargets, Targets, logits_of


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
    memory_bytes: the most that ablations may occupy at a time; None takes half of what the device, the machine
        and the container leave free.
    """
    if memory_bytes is not None:
        memory_bound(images.device, memory_bytes)
    return _Observer(model, layer, images, channel_dim, memory_bytes)


@final
@dataclass
class _Seen:
    """One forward as it goes by."""

    autocast: Autocast
    random_numbers: Tensor
    calls: CallRecorder | None = None
    tape: TapeRecorder | None = None
    activation: Tensor | None = None
    differentiable: bool = False
    outputs: list[Any] = field(default_factory=list[Any])
    drew_random_numbers: bool = False


@final
@dataclass
class _Observer:
    model: nn.Module
    layer: nn.Module
    images: Tensor
    channel_dim: int
    memory_bytes: int | None
    seen: _Seen | None = None

    @contextmanager
    def watching(self) -> Generator[None]:
        """See `TailObserver`."""
        seen = self.seen = _Seen(Autocast.now(self.images.device), torch.get_rng_state())
        known = recall(self.model, self.layer, self._rows_key(seen))
        if isinstance(known, RowsDecision) and not known.whole:
            seen.calls = CallRecorder(self.model, self.layer)

        def keep_output(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.outputs.append(output)

        with ExitStack() as stack:
            stack.callback(self.model.register_forward_hook(keep_output).remove)
            if seen.calls is not None:
                stack.enter_context(seen.calls.recording())
            yield
        seen.drew_random_numbers = not torch.equal(seen.random_numbers, torch.get_rng_state())

    def at_layer(self, activation: Tensor) -> AbstractContextManager[object]:
        """See `TailObserver`."""
        seen = self.seen
        if seen is None:
            raise RuntimeError("at_layer was called outside watching()")
        if seen.activation is not None:
            raise ValueError(
                "the layer is called more than once in one forward, so that a channel of its output is not one "
                "thing; choose the module around it"
            )
        seen.activation, seen.differentiable = activation.detach().clone(), torch.is_grad_enabled()
        if seen.calls is not None:
            seen.calls.reach()
            return nullcontext()
        seen.tape = TapeRecorder(self.model, activation)
        return seen.tape

    def tail(self) -> Tail:
        """See `TailObserver`."""
        seen = self.seen
        if seen is None or seen.activation is None or not seen.outputs:
            raise RuntimeError("no forward was watched: run the model inside observer.watching() first")
        _refuse_fault(seen)
        with torch.inference_mode(False), torch.no_grad():
            return self._tail(seen, seen.activation)

    def _tail(self, seen: _Seen, activation: Tensor) -> Tail:
        output = logits_of(seen.outputs[-1])
        capture = Capture(
            self.model,
            self.layer,
            self.images,
            activation,
            output.detach(),
            self.channel_dim,
            seen.autocast,
            seen.differentiable,
        )
        return _CapturedTail(capture, self._mechanism(seen, capture, output), self.memory_bytes)

    def _mechanism(self, seen: _Seen, capture: Capture, output: Tensor) -> Mechanism:
        recorded = _recorded(seen, output)
        of_plan, of_rows = (*self._key(seen), capture.differentiable), self._rows_key(seen)
        for key in ((*of_plan, len(self.images)), of_plan, of_rows):
            known = recall(self.model, self.layer, key)
            if known is not None:
                try:
                    return mechanism(known, capture, recorded, seen.calls)
                except Refusal:  # the model was changed, or runs other operations for this many images
                    continue
        decision = decide(capture, recorded, memory_bound(self.images.device, self.memory_bytes))
        if isinstance(decision, RowsDecision):
            key = of_rows
        else:
            key = of_plan if recall(self.model, self.layer, of_plan) is None else (*of_plan, len(self.images))
        remember(self.model, self.layer, key, decision)
        return mechanism(decision, capture, recorded, seen.calls)

    def _key(self, seen: _Seen) -> tuple[Hashable, ...]:
        images = self.images
        return self.channel_dim, tuple(images.shape[1:]), images.dtype, images.device.type, seen.autocast

    def _rows_key(self, seen: _Seen) -> tuple[Hashable, ...]:
        return *self._key(seen), "rows", len(self.images)


def _recorded(seen: _Seen, output: Tensor) -> Tape | Refusal:
    if seen.tape is None:
        return Refusal("nothing was recorded")
    try:
        return seen.tape.tape(output)
    except Refusal as refusal:
        return refusal


def _refuse_fault(seen: _Seen) -> None:
    fault = seen.tape.fault if seen.tape is not None else None
    if fault is None and seen.drew_random_numbers:
        fault = "an operation draws random numbers"
    if fault is not None:
        raise ValueError(
            f"{fault} while the network runs in evaluation mode, so that a score and the score after an ablation would "
            "come from different networks; make the forward pass deterministic and without memory"
        )


@final
@dataclass(frozen=True)
class _CapturedTail:
    capture: Capture
    mechanism: Mechanism
    memory_bytes: int | None

    def drops(
        self, targets: Targets, *, value: AblationValue = "zero", channels: Tensor | None = None
    ) -> ChannelDrops:
        """See `Tail`."""
        logits = exact(self.capture.logits)
        with torch.inference_mode(False), torch.no_grad():
            scores = targets.score(logits, torch.arange(len(logits), device=logits.device)).detach()
            match targets:
                case ClassTargets(index):
                    outcome = OneClass(index)
                case ContrastTargets(chosen, against):
                    outcome = OneClass(chosen.index, against.index)
                case FunctionTargets():
                    outcome = Scores(targets, logits)
                case _:
                    assert_never(targets)
            drops = self._each(value, channels, outcome)
        return ChannelDrops(drops.float(), scores.float(), self.mechanism.route)

    def class_drops(self, *, value: AblationValue = "zero", channels: Tensor | None = None) -> ClassDrops:
        """See `Tail`."""
        with torch.inference_mode(False), torch.no_grad():
            drops = self._each(value, channels, AllClasses())
        return ClassDrops(drops.float(), self.capture.logits.float(), self.mechanism.route)

    def _each(self, value: AblationValue, channels: Tensor | None, outcome: Outcome) -> Tensor:
        device, n = self.capture.activation.device, len(self.capture.images)
        chosen = self._channels(channels).to(device)
        image = torch.arange(n, device=device).repeat_interleave(len(chosen))
        bound = memory_bound(device, self.memory_bytes, enough_bytes=self.mechanism.enough_bytes)
        drops = self.mechanism.drops(Ablations(image, chosen.repeat(n), value), outcome, bound)
        return drops.unflatten(0, (n, len(chosen)))

    def _channels(self, channels: Tensor | None) -> Tensor:
        count = self.capture.channels
        if channels is None:
            return torch.arange(count)
        if channels.dtype != torch.int64 or channels.ndim != 1:
            raise TypeError(
                f"channels must be an int64 tensor [c], got {channels.dtype} {tuple(channels.shape)}"
            )
        wrong = channels[(channels < 0) | (channels >= count)].tolist()
        if wrong:
            raise IndexError(
                f"channels {wrong} are out of range: the layer has the channels 0 to {count - 1}"
            )
        return channels

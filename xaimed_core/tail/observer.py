"""`observe_tail`: learn the tail from the one forward that is needed anyway."""

from __future__ import annotations

from collections.abc import Generator, Hashable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import assert_never, final

import torch
from torch import Tensor, nn

from xaimed_core.isolation.subject import Subject, drew_since, generators
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.memory import memory_bound
from xaimed_core.methods import AblationValue
from xaimed_core.outputs import OutputChoice
from xaimed_core.progress import Progress
from xaimed_core.tail.carry.values import exact
from xaimed_core.tail.decide import RowsDecision, decide, mechanism, recall, remember
from xaimed_core.tail.interface import ChannelDrops, Tail, TailObserver
from xaimed_core.tail.record.calls import Tape
from xaimed_core.tail.record.exits import Recording
from xaimed_core.tail.record.guards import DrawWatch, Unsupported
from xaimed_core.tail.record.tape import TapeRecorder
from xaimed_core.tail.rerun.capture import Autocast, Capture
from xaimed_core.tail.rerun.modules import CallRecorder
from xaimed_core.tail.run.mechanisms import Mechanism
from xaimed_core.tail.run.outcomes import Ablations, OneClass, Outcome, Scores
from xaimed_core.targets import ClassTargets, ContrastTargets, FunctionTargets, Targets


def observe_tail(
    model: nn.Module,
    layer: nn.Module,
    images: Tensor,
    *,
    channel_dim: int = 1,
    memory_bytes: int | None = None,
    output: OutputChoice = None,
    announce: str = "",
) -> TailObserver:
    """An observer of ``model(images)`` that can ablate the channels of ``layer``'s output afterwards.

    channel_dim: where that output holds its channels: 1, or -1 for tokens and channels-last layers.
    memory_bytes: the most that ablations may occupy at a time; None takes half of what the device, the machine
        and the container leave free.
    output: which of several outputs the scores are, as in `explain`.
    announce: what to call ablations on stderr, where they will take more than a few seconds; "" says nothing.
    """
    if memory_bytes is not None:
        memory_bound(images.device, memory_bytes)
    return _Observer(model, layer, images, channel_dim, memory_bytes, output, announce)


@final
@dataclass
class _Seen:
    """One forward as it goes by."""

    autocast: Autocast
    subject: Subject
    calls: CallRecorder | None = None
    tape: TapeRecorder | None = None
    refused: Unsupported | None = None
    draws: DrawWatch | None = None
    activation: Tensor | None = None
    differentiable: bool = False
    logits: Tensor | None = None
    drew_random_numbers: bool = False


@final
@dataclass
class _Observer:
    model: nn.Module
    layer: nn.Module
    images: Tensor
    channel_dim: int
    memory_bytes: int | None
    output: OutputChoice
    announce: str
    seen: _Seen | None = None
    keeps_graph: bool = False

    @property
    def hooks_everything(self) -> bool:
        """See `TailObserver`."""
        known = recall(self.model, self.layer, self._rows_key(Autocast.now(self.images.device)))
        return isinstance(known, RowsDecision) and not known.whole

    @contextmanager
    def watching(self, subject: Subject) -> Generator[None]:
        """See `TailObserver`."""
        seen = self.seen = _Seen(Autocast.now(self.images.device), subject)
        before = generators(self.images.device)
        with ExitStack() as stack:
            if self.hooks_everything:
                seen.calls = CallRecorder(subject, self.model, self.layer)
                stack.enter_context(seen.calls.recording())
            yield
        seen.drew_random_numbers = drew_since(before, self.images.device)

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
        if len(activation) != len(self.images):
            raise ValueError(
                f"the layer returns {len(activation)} rows for {len(self.images)} images, but a channel is ablated in "
                "one image at a time; ask for a gradient method, or for a layer that returns one row per image"
            )
        seen.activation, seen.differentiable = activation.detach().clone(), torch.is_grad_enabled()
        if seen.calls is not None:
            seen.calls.reach()
            seen.draws = DrawWatch()
            return seen.draws
        try:
            seen.tape = TapeRecorder(seen.subject.root, activation)
        except Unsupported as unsupported:
            seen.refused, seen.draws = unsupported, DrawWatch()
            return seen.draws
        return Recording(seen.tape)

    def returned(self, logits: Tensor) -> None:
        """See `TailObserver`."""
        if self.seen is not None:
            self.seen.logits = logits

    @self_contained
    def tail(self) -> Tail:
        """See `TailObserver`."""
        seen = self.seen
        if seen is None or seen.activation is None or seen.logits is None:
            raise RuntimeError("no forward was watched: run the model inside observer.watching() first")
        _refuse_fault(seen)
        with torch.inference_mode(False), torch.no_grad():
            return self._tail(seen, seen.activation, seen.logits)

    def _tail(self, seen: _Seen, activation: Tensor, logits: Tensor) -> Tail:
        capture = Capture(
            self.model,
            self.layer,
            seen.subject,
            self.images,
            activation,
            logits.detach(),
            self.channel_dim,
            seen.autocast,
            seen.differentiable,
            self.output,
        )
        return _CapturedTail(
            capture, self._mechanism(seen, capture, logits), self.memory_bytes, self.announce
        )

    def _mechanism(self, seen: _Seen, capture: Capture, logits: Tensor) -> Mechanism:
        recorded = _recorded(seen, logits)
        of_plan, of_rows = (*self._key(seen.autocast), capture.differentiable), self._rows_key(seen.autocast)
        for key in ((*of_plan, len(self.images)), of_plan, of_rows):
            known = recall(self.model, self.layer, key)
            if known is not None:
                try:
                    return mechanism(known, capture, recorded, seen.calls)
                except Unsupported:  # the model was changed, or runs other operations for this many images
                    continue
        decision, sure = decide(capture, recorded, memory_bound(self.images.device, self.memory_bytes))
        if isinstance(decision, RowsDecision):
            key = of_rows
        else:
            key = of_plan if recall(self.model, self.layer, of_plan) is None else (*of_plan, len(self.images))
        if sure:
            remember(self.model, self.layer, key, decision)
        try:
            return mechanism(decision, capture, recorded, seen.calls)
        except Unsupported as unsupported:
            raise ValueError(
                f"the network ran other operations for the same images a moment later ({unsupported.reason}); "
                "make the forward pass deterministic"
            ) from None

    def _key(self, autocast: Autocast) -> tuple[Hashable, ...]:
        images = self.images
        of_images = tuple(images.shape[1:]), images.dtype, images.device.type
        output = self.output if isinstance(self.output, int | str) else id(self.output)
        return self.channel_dim, *of_images, autocast, output

    def _rows_key(self, autocast: Autocast) -> tuple[Hashable, ...]:
        return *self._key(autocast), "rows", len(self.images)


def _recorded(seen: _Seen, logits: Tensor) -> Tape | Unsupported:
    if seen.tape is None:
        return seen.refused or Unsupported("nothing was recorded")
    try:
        return seen.tape.tape(logits)
    except Unsupported as unsupported:
        return unsupported


def _refuse_fault(seen: _Seen) -> None:
    fault = seen.tape.fault if seen.tape is not None else None
    drew = seen.drew_random_numbers or (seen.draws is not None and seen.draws.drew)
    if fault is None and drew:
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
    announce: str

    @self_contained
    def drops(self, targets: Targets, *, value: AblationValue = "zero") -> ChannelDrops:
        """See `Tail`."""
        logits = exact(self.capture.logits)
        with torch.inference_mode(False), torch.no_grad():
            scores = targets.score(logits).detach()
            match targets:
                case ClassTargets(index):
                    outcome = OneClass(index)
                case ContrastTargets(chosen, against):
                    outcome = OneClass(chosen.index, against.index)
                case FunctionTargets():
                    outcome = Scores(targets, logits)
                case _:
                    assert_never(targets)
            drops = self.ablate(torch.arange(self.capture.channels), value, outcome)
        return ChannelDrops(drops.float(), scores.float(), self.mechanism.route)

    def ablate(self, channels: Tensor, value: AblationValue, outcome: Outcome) -> Tensor:
        """What ``outcome`` loses by each of ``channels [c]`` (int64) of each image: ``[n, c]`` or ``[n, c, ...]``."""
        device, n = self.capture.activation.device, len(self.capture.images)
        image = torch.arange(n, device=device).repeat_interleave(len(channels))
        bound = memory_bound(device, self.memory_bytes, enough_bytes=self.mechanism.enough_bytes)
        ablations = Ablations(image, channels.to(device).repeat(n), value)
        what = f"AblationCAM at {self.announce}"
        with Progress(what, len(ablations), "ablations", show=bool(self.announce), early=False) as step:
            drops = self.mechanism.drops(ablations, outcome, bound, step=step)
        return drops.unflatten(0, (n, len(channels)))

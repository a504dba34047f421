"""The ways of computing drops behind one interface: a plan over what was recorded, or rows of the model itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, final

import torch
from torch import Tensor

from xaimed_core.chunks import ENOUGH_TO_MEASURE, fastest_rows, in_chunks
from xaimed_core.explanation import Route
from xaimed_core.tail.carry.values import exact
from xaimed_core.tail.plan.plan import Plan
from xaimed_core.tail.rerun.capture import Capture
from xaimed_core.tail.rerun.modules import ModuleRerun
from xaimed_core.tail.run.ablation import ablate, replacement
from xaimed_core.tail.run.algebra import Front, drops_of_rows, run_front
from xaimed_core.tail.run.outcomes import Ablations, AllClasses, OneClass, Outcome, read_drops

UNMEASURED = 32
"""Rows per chunk where nothing is measured: within a few percent of the best at every network tried."""

CLOSED_BYTES = 2**24
"""A closed form's rows at a time: they meet one matrix, which then stays in the cache."""


def unseen(count: int) -> None:
    """Nobody looks on."""
    del count


class Mechanism(Protocol):
    """Computes drops for the images of one capture."""

    @property
    def route(self) -> Route:
        """What runs, and why nothing cheaper does."""
        ...

    @property
    def enough_bytes(self) -> int | None:
        """Memory beyond which more changes nothing; None where more always allows larger chunks."""
        ...

    def drops(
        self,
        ablations: Ablations,
        outcome: Outcome,
        memory_bytes: int,
        *,
        alone: bool = False,
        step: Callable[[int], None] = unseen,
    ) -> Tensor:
        """Drops ``[r, ...]`` in the precision of changes; ``alone``: every row in a chunk of its own.

        ``step(count)`` after so many ablations, unless none takes noticeable time.
        Raises ValueError where the memory does not hold a single row.
        """
        ...


@final
@dataclass(frozen=True)
class ByPlan:
    """A plan, with the ``external`` tensors of this capture's recording.

    ``chunks``: rows per chunk as measured, by kind of outcome; shared by all captures of one tail.
    """

    capture: Capture
    plan: Plan
    external: dict[int, Tensor]
    route: Route
    chunks: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def enough_bytes(self) -> int | None:
        """See `Mechanism`. A closed form's: all images at a time, and rows for as many as stay in the cache."""
        if not self.plan.closed:
            return None
        return 2 * max(
            len(self.capture.activation) * self.plan.front_bytes, self.plan.row_bytes, CLOSED_BYTES
        )

    def drops(
        self,
        ablations: Ablations,
        outcome: Outcome,
        memory_bytes: int,
        *,
        alone: bool = False,
        step: Callable[[int], None] = unseen,
    ) -> Tensor:
        """See `Mechanism`. Half the memory is the front's, for as many images as it holds; half the rows'."""
        plan, n = self.plan, len(self.capture.activation)
        group, most = (memory_bytes // 2 // max(size, 1) for size in (plan.front_bytes, plan.row_bytes))
        _refuse_bound_below(2 * max(plan.front_bytes, plan.row_bytes), memory_bytes)
        drops = _no_drops(self.capture, ablations, outcome)
        with below_autocast(drops.device):
            for start in range(0, n, group):
                front = self._front(start, min(start + group, n), ablations)
                if not plan.closed or not isinstance(outcome, OneClass):
                    front.tabulate()
                at = _changing(front, ablations)
                # those that change nothing are done on the way
                of_front, done = len(ablations) * front.n // n, 0
                for part, found in self._in_chunks(front, ablations, at, outcome, 1 if alone else most):
                    drops[at[part]] = found
                    if not plan.closed:
                        step(of_front * part.stop // len(at) - done)
                        done = of_front * part.stop // len(at)
        return drops

    def _front(self, start: int, stop: int, ablations: Ablations) -> Front:
        activation = self.capture.activation[start:stop]
        replaced = replacement(activation, self.capture.channel_dim, ablations.value)
        external = self.plan.program.of_images(self.external, start, stop)
        return run_front(self.plan, activation, replaced, external, start)

    def _in_chunks(
        self, front: Front, ablations: Ablations, at: Tensor, outcome: Outcome, most: int
    ) -> Iterator[tuple[slice, Tensor]]:
        def run(part: slice) -> Tensor:
            return drops_of_rows(front, ablations.image[at[part]], ablations.channel[at[part]], outcome)

        if self.plan.closed:
            rows = min(most, max(CLOSED_BYTES // self.plan.row_bytes, 1))
        else:
            rows = _rows(run, at, most, outcome, self.chunks)
        return in_chunks(len(at), rows, run)


@final
@dataclass(frozen=True)
class ByRows:
    """Every ablation a row of the model itself; ``alone``: one row at a time; ``in_order``: see `_in_order`.

    ``chunks``: as in `ByPlan`.
    """

    capture: Capture
    rerun: ModuleRerun
    route: Route
    alone: bool
    in_order: bool = False
    chunks: dict[str, int] = field(default_factory=dict[str, int])
    enough_bytes: None = None

    def drops(
        self,
        ablations: Ablations,
        outcome: Outcome,
        memory_bytes: int,
        *,
        alone: bool = False,
        step: Callable[[int], None] = unseen,
    ) -> Tensor:
        """See `Mechanism`. A chunk holds rows of one image, so that what they share takes its memory once."""
        capture = self.capture
        replaced = replacement(capture.activation, capture.channel_dim, ablations.value)
        drops = _no_drops(capture, ablations, outcome)
        _refuse_bound_below(self.rerun.bytes_per_row, memory_bytes)
        most = 1 if alone or self.alone else memory_bytes // max(self.rerun.bytes_per_row, 1)
        with capture.running():
            if self.in_order:
                self._in_order(ablations, outcome, replaced, drops, step)
                return drops
            for i in range(len(capture.activation)):
                at = (ablations.image == i).nonzero().squeeze(1)

                def run(part: slice, at: Tensor = at) -> Tensor:
                    image, channel = ablations.image[at[part]], ablations.channel[at[part]]
                    ablated = ablate(capture.activation, capture.channel_dim, replaced, image, channel)
                    change = exact(self.rerun.outputs(image, ablated)) - exact(capture.logits)[image]
                    return read_drops(outcome, change, image)

                rows = _rows(run, at, most, outcome, self.chunks)
                for part, found in in_chunks(len(at), rows, run):
                    drops[at[part]] = found
                    step(part.stop - part.start)
        return drops

    def _in_order(
        self,
        ablations: Ablations,
        outcome: Outcome,
        replaced: Tensor,
        drops: Tensor,
        step: Callable[[int], None],
    ) -> None:
        """Each forward ablates one channel of every image of the caller's batch, which stays in its order."""
        capture = self.capture
        every = torch.arange(len(capture.activation), device=drops.device)
        for k in ablations.channel.unique():
            ablated = ablate(capture.activation, capture.channel_dim, replaced, every, k.expand(len(every)))
            change = exact(self.rerun.outputs(every, ablated)) - exact(capture.logits)
            at = (ablations.channel == k).nonzero().squeeze(1)
            image = ablations.image[at]
            drops[at] = read_drops(outcome, change[image], image)
            step(len(at))


def _rows(
    run: Callable[[slice], Tensor], at: Tensor, most: int, outcome: Outcome, chunks: dict[str, int]
) -> int:
    """Rows per chunk of the ablations ``at``: measured once where they are many enough, then always as many."""
    if most <= 1 or len(at) < ENOUGH_TO_MEASURE:
        return min(UNMEASURED, most)
    kind = type(outcome).__name__
    if kind not in chunks:
        found = fastest_rows(run, min(len(at), most), at.device)
        chunks.setdefault(kind, found)  # of threads that measure at once the first decides for all
    return min(chunks[kind], most)


def _no_drops(capture: Capture, ablations: Ablations, outcome: Outcome) -> Tensor:
    classes = capture.logits.shape[1:] if isinstance(outcome, AllClasses) else ()
    return exact(capture.logits).new_zeros(len(ablations), *classes)


def _changing(front: Front, ablations: Ablations) -> Tensor:
    """Which ablations are of the front's images and change anything."""
    place = ablations.image - front.first
    mine = ((place >= 0) & (place < front.n)).nonzero().squeeze(1)
    return mine[front.alive[place[mine], ablations.channel[mine]]]


@contextmanager
def below_autocast(device: torch.device) -> Generator[None]:
    """No autograd, and no autocast: what was recorded lies below it."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def _refuse_bound_below(needed: int, memory_bytes: int) -> None:
    if memory_bytes < needed:
        raise ValueError(
            f"one ablation takes {needed} bytes, and {memory_bytes} may be taken (memory_bytes, or half of what is "
            "free); free some memory, or explain fewer or smaller images at a time"
        )

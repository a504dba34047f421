"""How many rows a forward holds: the caller's images in the caller's order, or more where rows are proven independent.

A model may hold something of its own for each image of the batch (a patient's age, a second picture). A forward of
other images, another order or another count would pair them wrongly, often without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaimed_core.chunks import ENOUGH_TO_MEASURE, REPEATS, fastest_rows, in_chunks, seconds_per_row
from xaimed_core.dependence import rounding_of, warn_if_mixed
from xaimed_core.outputs import OutputChoice, outputs_of

ROWS = 32
"""Rows per forward, if the caller's own batch is smaller: a GPU gains up to there. A larger one is never exceeded."""

FEW, FEW_ROWS = 2, 8
"""Up to so many images, and up to so many rows, a CPU gains more than the proof costs; with more it loses (README.md of
faithfulness)."""

MANY = 4
"""Perturbations of each image from which on other counts can pay for their proof, which is one more forward of all."""

WORTH_A_PROOF = 1.15
"""So much faster must another count be than the caller's: each call makes the proof again, a ninth of ROAD."""

_fastest: WeakKeyDictionary[nn.Module, dict[Any, int]] = WeakKeyDictionary()
"""Rows as measured, by what a forward's speed depends on: every later call computes with as many, bit for bit."""


class DependentRowsError(RuntimeError):
    """An image's outputs depend on the others of its forward, or on its place among them."""


@final
class Proof:
    """Whether ``outputs [n, ...]`` of ``images`` stay the same in forwards of other counts and another order.

    All images are run, from the second on, then the first and one more, since what a model holds may be equal for a few
    of them. Never remembered, because a model may be given something else before the next call.
    """

    def __init__(self, model: nn.Module, images: Tensor, outputs: Tensor, choice: OutputChoice) -> None:
        self.model, self.images, self.outputs, self.choice = model, images, outputs, choice
        self.allowed = rounding_of(outputs)
        self.done = 0

    def run(self, part: slice) -> Tensor:
        """A forward of as many of the next images. Raises DependentRowsError."""
        n = len(self.images)
        order = (torch.arange(part.start, part.stop, device=self.images.device) + self.done + 1) % n
        found = outputs_of(self.model, self.images[order], self.choice)
        expected = self.outputs[order.to(self.outputs.device)]
        same = found.shape == expected.shape and bool(
            torch.isclose(found, expected, rtol=0, atol=self.allowed, equal_nan=True).all()
        )
        if not same:
            raise DependentRowsError("outputs depend on the batch")
        self.done += part.stop - part.start
        return found

    def finish(self, rows: int) -> None:
        """Run what is left, at most so many at a time. Raises DependentRowsError."""
        while self.done <= len(self.images):
            self.run(slice(0, min(rows, len(self.images) + 1 - self.done)))


def rows_per_forward(
    model: nn.Module,
    images: Tensor,
    outputs: Tensor | None,
    count: int,
    batch: int | None = None,
    choice: OutputChoice = None,
    *,
    owner: nn.Module | None = None,
) -> int:
    """How many rows `outputs_of_each` may put into one forward: n, more or fewer only after a proof.

    ``count``: perturbations of each image. ``outputs``: of the images as they are; None lets a forward find them, if a
    proof is needed. ``batch`` None: the fastest count, measured on the forwards of the proof where the work is worth
    it, else by rule. Out of memory is never the answer. ``owner``: the caller's model, where a replica of it runs, for
    which what was measured is remembered.
    Raises ValueError where ``batch`` was asked for and rows depend on each other or on their place.
    """
    n = len(images)
    warn_if_mixed(model, images, outputs, choice, owner or model)
    measure = batch is None and _worth_measuring(images, count)
    measured = _fastest.setdefault(owner or model, {}) if measure else {}
    kind = images.device.type
    key = (
        images.shape[1:],
        images.dtype,
        images.device,
        torch.is_autocast_enabled(kind),
        torch.get_num_threads(),
    )
    rows = measured.get(key) if measure else batch or _unmeasured(images, count)
    if rows is not None and _fitted(rows, n) == n:
        return n
    proof = Proof(model, images, outputs_of(model, images, choice) if outputs is None else outputs, choice)

    def prove() -> None:
        if measure and key not in measured:
            repeats = REPEATS if count * n >= REPEATS * ENOUGH_TO_MEASURE else 1
            measured.setdefault(key, _measured(proof, min(count * n, max(n, ROWS)), n, repeats))
        proof.finish(measured[key] if measure else n + 1)

    if _proven(prove):
        return _fitted(measured[key] if rows is None else rows, n)
    if batch is None:
        return n
    raise ValueError(
        f"batch={batch} changes which images share a forward, and this model's outputs depend on that, or on their "
        "place in it (it may hold an input of its own for each image);\n"
        f"leave batch out, so that all {n} run together as given"
    )


def outputs_of_each(
    model: nn.Module,
    perturb: Callable[[range], Tensor],
    count: int,
    n: int,
    rows: int,
    choice: OutputChoice = None,
) -> Iterator[Tensor]:
    """Outputs ``[n, ...]`` for each of ``count`` perturbations, all ``n`` images in the caller's order.

    ``perturb(ks)`` gives the rows of perturbations ``ks`` behind each other, ``[k * n, ...]``; they share a forward as
    far as ``rows`` allow, see `rows_per_forward`, and fewer do where memory runs out.
    """

    def run(ks: slice) -> Tensor:
        images = perturb(range(ks.start, ks.stop))
        if rows >= n:
            return outputs_of(model, images, choice)
        parts = in_chunks(n, rows, lambda part: outputs_of(model, images[part], choice))
        return torch.cat([found for _, found in parts])

    for _, outputs in in_chunks(count, max(1, rows // n), run):
        yield from outputs.split(n)


def _measured(proof: Proof, most: int, n: int, repeats: int) -> int:
    """The fastest count, or n where that is nearly as fast: it needs no proof."""
    device = proof.images.device
    found = fastest_rows(proof.run, most, device, repeats)
    if found == n:
        return n
    as_given, instead = (seconds_per_row(proof.run, rows, device, repeats) for rows in (n, found))
    return found if WORTH_A_PROOF * instead <= as_given else n


def _worth_measuring(images: Tensor, count: int) -> bool:
    """Whether trying other counts costs less than it can gain: the caller's own may be near the best."""
    n = len(images)
    if images.is_cuda and n >= ROWS:
        return False
    return count >= MANY and (count * n >= ENOUGH_TO_MEASURE or (n > FEW_ROWS and not images.is_cuda))


def _unmeasured(images: Tensor, count: int) -> int:
    n = len(images)
    gains = ROWS if images.is_cuda else FEW_ROWS if n <= FEW else n
    return max(n, min(gains, count * n)) if count >= MANY else n


def _fitted(rows: int, n: int) -> int:
    """As many whole perturbations of n images as ``rows`` hold, or parts of one of about the same size."""
    if rows >= n:
        return rows // n * n
    parts = -(-n // rows)
    return -(-n // parts)


def _proven(prove: Callable[[], None]) -> bool:
    try:
        prove()
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return False
    return True

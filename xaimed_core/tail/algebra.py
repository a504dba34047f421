"""Running a plan: the front once for all ablations, then rows of ablations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.linear import Look, linear_form
from xaimed_core.tail.outcomes import OneClass, Outcome, read_drops
from xaimed_core.tail.plan import Plan, Step
from xaimed_core.tail.program import at_batch
from xaimed_core.tail.rules import Regions
from xaimed_core.tail.tape import ACTIVATION, Call, Value, leaves, replace
from xaimed_core.tail.values import changed_rows, channel_view, compute_dtype, exact, put_rows, take_rows


@final
@dataclass(frozen=True)
class Front:
    """What all ablations of ``n`` images share.

    first: the first of them among the capture's images. changes: of Chan values that the rows read.
    bases: of values whose base they read, and external values.
    alive: bool ``[n, channels]``: whether the ablation changes anything that the rows read; if not, its drop is 0.
    tables: changes of first mixings' results for all channels, by the operation's place, where that is better.
    constants: what all images share, in the precision of changes, once it was asked for.
    """

    plan: Plan
    first: int
    n: int
    changes: dict[int, Tensor]
    bases: dict[int, Tensor]
    alive: Tensor
    tables: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    constants: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def chan_of(self, step: Step) -> int:
        """The one Chan value that a first mixing reads."""
        (chan,) = (value for value in step.call.reads() if value in self.plan.blocks)
        return chan

    def tabulate(self) -> None:
        """Fill ``tables``."""
        for step in self.plan.rows:
            if step.mixing is not None and step.mixing.table is not None:
                chan = self.chan_of(step)
                changes = channel_view(self.changes[chan], self.plan.blocks[chan], self.n)
                self.tables[step.at] = step.mixing.table(changes, self.constant)

    def constant(self, value: int) -> Tensor:
        """An external value in the precision that changes are computed in."""
        if value not in self.constants:
            self.constants[value] = exact(self.bases[value])
        return self.constants[value]


def run_front(
    plan: Plan, activation: Tensor, replaced: Tensor, external: dict[int, Tensor], first: int = 0
) -> Front:
    """Carry the changes of every channel at once. ``replaced [n, c]`` is what the channels become."""
    n = len(activation)
    block = plan.blocks[ACTIVATION.index]
    fill = replaced.reshape(*replaced.shape, *[1] * (activation.ndim - 2)).movedim(1, block.dim)
    bases = {**external, ACTIVATION.index: activation}
    changes = {ACTIVATION.index: fill.to(compute_dtype(activation)) - exact(activation)}
    for at, call in enumerate(plan.program.calls):
        if (carried := plan.front.get(at)) is not None:
            regions = Regions(at_batch(call, n), changes.__getitem__, bases.__getitem__)
            found = zip(call.results, carried.changes(regions), strict=True)
            changes.update({r: change for r, change in found if r is not None and change is not None})
        if at in plan.base_calls:
            _run(at_batch(call, n), lambda value: bases[value], bases)
        for value in plan.freed.get(at, ()):
            if value not in plan.bases and value not in external:
                bases.pop(value, None)
            if value not in plan.entering:
                changes.pop(value, None)
    alive = [_changes_anything(plan, change, value, n) for value, change in changes.items()]
    return Front(plan, first, n, changes, bases, torch.stack(alive).any(0))


def _changes_anything(plan: Plan, change: Tensor, value: int, n: int) -> Tensor:
    return (channel_view(change, plan.blocks[value], n) != 0).flatten(2).any(2)


def _run(call: Call, look: Callable[[int], Tensor], results: dict[int, Tensor]) -> None:
    """The operation as it was recorded."""

    def tensor(leaf: Any) -> Any:
        return look(leaf.index) if isinstance(leaf, Value) else leaf

    output = call.op(*replace(call.args, tensor), **{k: replace(v, tensor) for k, v in call.kwargs.items()})
    for result, found in zip(call.results, leaves(output), strict=True):
        if result is not None:
            results[result] = found if call.dtype is None else found.to(call.dtype)


def drops_of_rows(front: Front, image: Tensor, channel: Tensor, outcome: Outcome) -> Tensor:
    """Drops ``[r, ...]`` of the ablations of ``channel [r]`` in ``image [r]``, an image of the capture."""
    return _Rows(front, image, channel, bool((image == image[0]).all())).drops(outcome)


@final
@dataclass
class _Rows:
    """One chunk. ``values``: dense values; ``moved``: dense changes."""

    front: Front
    image: Tensor
    channel: Tensor
    one_image: bool
    values: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    moved: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    @property
    def place(self) -> Tensor:
        """Where the images stand among the front's."""
        return self.image - self.front.first

    def drops(self, outcome: Outcome) -> Tensor:
        plan = self.front.plan
        last = {value: step.at for step in plan.rows for value in step.call.reads()}
        for step in plan.rows:
            if (
                isinstance(outcome, OneClass)
                and step is plan.rows[-1]
                and _is_product(step, plan.program.logits)
            ):
                return self._drops_of_one_class(step, outcome)
            self._take(step)
            for value in step.call.reads():
                if last[value] == step.at:
                    self.values.pop(value, None)
                    self.moved.pop(value, None)
        return read_drops(outcome, self.change(plan.program.logits), self.image)

    def _take(self, step: Step) -> None:
        call = at_batch(step.call, len(self.image))
        if step.mixing is not None:
            self._mix(step, call)
        elif step.changes:
            depend = {value for value in call.reads() if value not in self.front.plan.program.external}
            form = linear_form(call, depend)
            assert form is not None
            found = leaves(form(call, Look(depend, self.change, self.value)))
            self.moved.update((r, x) for r, x in zip(call.results, found, strict=False) if r is not None)
        else:
            _run(call, self.value, self.values)

    def _mix(self, step: Step, call: Call) -> None:
        assert step.mixing is not None
        (result,) = call.results
        assert result is not None
        if step.at in self.front.tables:
            change = self.front.tables[step.at][self.place, self.channel].flatten(0, 1)
        else:
            chan = self.front.chan_of(step)
            change = step.mixing.rows(call, self._changed(chan), self.channel, self.front.constant)
        if step.changes:
            self.moved[result] = change
        else:
            base = self._base(result)
            self.values[result] = (base + change).to(base.dtype)

    def _drops_of_one_class(self, step: Step, outcome: OneClass) -> Tensor:
        """The last product for each row's own class alone."""
        at = 0 if step.call.name == "mm" else 1
        x, matrix = step.call.args[at].index, self.front.constant(step.call.args[at + 1].index)
        if step.mixing is None:
            change, features = self.change(x), torch.arange(len(matrix), device=matrix.device)
        else:
            block = self.front.plan.blocks[x]
            entries = torch.arange(block.width, device=matrix.device)
            change = self._changed(x).squeeze(2)
            features = block.offset + block.width * self.channel.unsqueeze(1) + entries
        weights = matrix[features, outcome.index[self.image].unsqueeze(1)]
        if outcome.against is not None:
            weights = weights - matrix[features, outcome.against[self.image].unsqueeze(1)]
        return -(change * weights).sum(1)

    def _changed(self, chan: int) -> Tensor:
        front = self.front
        return changed_rows(front.changes[chan], front.plan.blocks[chan], front.n, self.place, self.channel)

    def _base(self, value: int) -> Tensor:
        """Rows of what did not change."""
        batch = self.front.plan.program.batch(value)
        tensor = self.front.bases[value]
        if batch is None:
            return tensor
        return take_rows(tensor, batch.dim, batch.factor, self.front.n, self.place, self.one_image)

    def value(self, value: int) -> Tensor:
        """A value as the operations after it read it."""
        if value in self.values:
            return self.values[value]
        block = self.front.plan.blocks.get(value)
        if block is None:
            return self._base(value)
        rows = self._base(value).clone(memory_format=torch.contiguous_format)
        self.values[value] = put_rows(rows, block, self.channel, self._changed(value))
        return self.values[value]

    def change(self, value: int) -> Tensor:
        """What the ablation adds to a value."""
        if value in self.moved:
            return self.moved[value]
        block = self.front.plan.blocks.get(value)
        if block is None:
            found = exact(self.values[value]) - exact(self._base(value))
        else:
            shape = self.front.plan.program.shape(value, len(self.image))
            rows = self.front.changes[value].new_zeros(shape)
            found = put_rows(rows, block, self.channel, self._changed(value))
        self.moved[value] = found
        return found


def _is_product(step: Step, logits: int) -> bool:
    """Whether the logits are the rows' last product with a matrix that all images share."""
    return step.changes and step.call.name in ("addmm", "mm") and step.call.results == (logits,)

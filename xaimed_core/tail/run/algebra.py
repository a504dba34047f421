"""Running a plan: the front once for all ablations, then rows of ablations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.carry.linear import Operands, linear_form
from xaimed_core.tail.carry.mixing import plus
from xaimed_core.tail.carry.rules import Regions
from xaimed_core.tail.carry.values import (
    changed_rows,
    channel_view,
    compute_dtype,
    exact,
    put_rows,
    take_rows,
)
from xaimed_core.tail.plan.plan import Plan
from xaimed_core.tail.plan.steps import Step
from xaimed_core.tail.record.calls import ACTIVATION, Call, Value, leaves, nested
from xaimed_core.tail.record.program import at_batch
from xaimed_core.tail.run.outcomes import OneClass, Outcome, read_drops


@final
@dataclass(frozen=True)
class Front:
    """What all ablations of ``n`` images share.

    first: the first of them among the capture's images. changes: of PerChannel values that the rows read.
    bases: of values whose base they read, and external values.
    alive: bool ``[n, channels]``: whether the ablation changes anything that the rows read; if not, its drop is 0.
    tables: changes of first mixings' results for all channels, by the operation's place, where that is better.
    constants, weights: what all images share, in the precision of changes, and what each channel meets in a first
        mixing, by its place; calls: operations for so many rows, by place and count. All once they were asked for.
    """

    plan: Plan
    first: int
    n: int
    changes: dict[int, Tensor]
    bases: dict[int, Tensor]
    alive: Tensor
    tables: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    constants: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    weights: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    calls: dict[tuple[int, int], Call] = field(default_factory=dict[tuple[int, int], Call])

    def call(self, step: Step, rows: int) -> Call:
        """A row operation with its integers for so many rows, written over its first argument where it can be."""
        if (step.at, rows) not in self.calls:
            call = at_batch(step.call, rows)
            self.calls[step.at, rows] = call if step.overwrites is None else replace(call, op=step.overwrites)
        return self.calls[step.at, rows]

    def per_channel_of(self, step: Step) -> int:
        """The one PerChannel value that a first mixing reads."""
        (per_channel,) = (value for value in step.call.reads if value in self.plan.blocks)
        return per_channel

    def tabulate(self) -> None:
        """Fill ``tables``."""
        for step in self.plan.rows:
            if step.mixing is not None and step.mixing.table is not None:
                per_channel = self.per_channel_of(step)
                changes = channel_view(self.changes[per_channel], self.plan.blocks[per_channel], self.n)
                self.tables[step.at] = step.mixing.table(changes, self.met(step))

    def met(self, step: Step) -> Tensor:
        """The weights of a first mixing."""
        assert step.mixing is not None
        if step.at not in self.weights:
            self.weights[step.at] = step.mixing.weights(self.constant)
        return self.weights[step.at]

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
    if plan.channels_last:
        maps = {value: bases[value] for value in plan.bases if bases[value].ndim == 4}
        bases.update({v: x.contiguous(memory_format=torch.channels_last) for v, x in maps.items()})
    alive = [_changes_anything(plan, change, value, n) for value, change in changes.items()]
    return Front(plan, first, n, changes, bases, torch.stack(alive).any(0))


def _changes_anything(plan: Plan, change: Tensor, value: int, n: int) -> Tensor:
    return (channel_view(change, plan.blocks[value], n) != 0).flatten(2).any(2)


def _run(call: Call, operand: Callable[[int], Tensor], results: dict[int, Tensor]) -> None:
    """The operation as it was recorded."""

    def tensor(leaf: Any) -> Any:
        return operand(leaf.index) if isinstance(leaf, Value) else leaf

    output = call.op(*nested(call.args, tensor), **{k: nested(v, tensor) for k, v in call.kwargs.items()})
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

    @cached_property
    def place(self) -> Tensor:
        """Where the images stand among the front's."""
        return self.image - self.front.first

    def drops(self, outcome: Outcome) -> Tensor:
        plan = self.front.plan
        for step in plan.rows:
            if (
                isinstance(outcome, OneClass)
                and step is plan.rows[-1]
                and _is_product(step, plan.program.logits)
            ):
                return self._drops_of_one_class(step, outcome)
            self._take(step)
            for value in step.done:
                self.values.pop(value, None)
                self.moved.pop(value, None)
        return read_drops(outcome, self.change(plan.program.logits), self.image)

    def _take(self, step: Step) -> None:
        call = self.front.call(step, len(self.image))
        if step.mixing is not None:
            self._mix(step, call)
        elif step.changes:
            form = linear_form(call, step.depend)
            assert form is not None
            found = leaves(form(call, Operands(step.depend, self.change, self.value)))
            self.moved.update((r, x) for r, x in zip(call.results, found, strict=False) if r is not None)
        else:
            _run(call, self.value, self.values)

    def _mix(self, step: Step, call: Call) -> None:
        assert step.mixing is not None
        (result,) = call.results
        assert result is not None
        base = None if step.changes else self._base(result)
        if step.at in self.front.tables:
            change = self.front.tables[step.at][self.place, self.channel].flatten(0, 1)
            found = change if base is None else plus(base, change)
        else:
            changes = self._changed(self.front.per_channel_of(step))
            found = step.mixing.rows(call, changes, self.channel, self.front.met(step), base)
        (self.moved if base is None else self.values)[result] = found

    def _drops_of_one_class(self, step: Step, outcome: OneClass) -> Tensor:
        """The last product for each row's own class alone."""
        at = 0 if step.call.name == "mm" else 1
        x, by_class = step.call.args[at].index, self.front.constant(step.call.args[at + 1].index).t()
        if step.mixing is None:
            change, features = self.change(x), None
        else:
            block = self.front.plan.blocks[x]
            change = self._changed(x).squeeze(2)
            features = block.entries_of(self.channel)

        def weights(index: Tensor) -> Tensor:
            chosen = index[self.image]
            return by_class[chosen] if features is None else by_class[chosen.unsqueeze(1), features]

        met = weights(outcome.index)
        if outcome.against is not None:
            met = met - weights(outcome.against)
        return -(change * met).sum(1)

    def _changed(self, per_channel: int) -> Tensor:
        front = self.front
        return changed_rows(
            front.changes[per_channel], front.plan.blocks[per_channel], front.n, self.place, self.channel
        )

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
            found, base = exact(self.values[value]), exact(self._base(value))
            found = found.sub_(base) if value in self.front.plan.change_only else found - base
        else:
            shape = self.front.plan.program.shape(value, len(self.image))
            rows = self.front.changes[value].new_zeros(shape)
            found = put_rows(rows, block, self.channel, self._changed(value))
        self.moved[value] = found
        return found


def _is_product(step: Step, logits: int) -> bool:
    """Whether the logits are the rows' last product with a matrix that all images share."""
    return step.changes and step.call.name in ("addmm", "mm") and step.call.results == (logits,)

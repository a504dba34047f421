"""The rows' operations, and how each is best run: on values or on changes, mixed, scaled, or in place."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import final

from torch import Tensor
from torch._ops import OpOverload

from xaimed_core.tail.carry.linear import BATCH_NORMS, batch_norm_scale, linear_form
from xaimed_core.tail.carry.mixing import Constant, Mixing
from xaimed_core.tail.carry.rules import is_pointwise
from xaimed_core.tail.record.aten import overwriting_form, returns_views
from xaimed_core.tail.record.calls import Call, Value, alike
from xaimed_core.tail.record.program import Program


@final
@dataclass(frozen=True)
class Step:
    """One operation of the rows: ``at`` its place in the program.

    linear: in the values that depend on the layer. changes: so is all that follows, hence its result is a change.
    mixing: how it mixes one channel's change, where it is a first mixing.
    overwrites: the operation that writes the result over the first argument, where nothing needs that any more.
    depend: the values it reads that depend on the layer. done: those that no later operation of the rows reads.
    """

    at: int
    call: Call
    linear: bool
    changes: bool
    mixing: Mixing | None
    overwrites: OpOverload | None
    depend: frozenset[int]
    done: frozenset[int]


Rest = tuple[int, Call, Mixing | None]
"""An operation that no rule carries, with its place, and how it mixes where it is a first mixing."""


def steps_of(program: Program, per_channel: Collection[int], rest: Sequence[Rest]) -> tuple[Step, ...]:
    """How the operations that no rule carries are run; ``per_channel``: the PerChannel values."""
    rows = _with_changes_at_the_end(program, _with_scales_folded(program, rest))
    last = {value: step.at for step in rows for value in step.call.reads}
    rows = [replace(step, done=frozenset(v for v in step.depend if last[v] == step.at)) for step in rows]
    own = _owned(program, per_channel, rows)
    return tuple(replace(step, overwrites=_overwriting(program, step, own)) for step in rows)


def change_only(program: Program, per_channel: Collection[int], rows: Sequence[Step]) -> frozenset[int]:
    """Values of rows of which nothing but the change is needed, so that it may take their memory."""
    kept = {value for step in rows if not step.changes for value in step.call.reads}
    read = {value for step in rows for value in step.call.reads}
    return frozenset(_owned(program, per_channel, rows) & read - kept)


def positions_apart(program: Program, rows: Sequence[Step]) -> bool:
    """Whether the rows convolve, and that only as a first mixing position by position."""
    convolutions = [step for step in rows if step.call.name == "convolution"]
    kernels = [program.shape(step.call.args[1].index, 1)[2:] for step in convolutions]
    return bool(convolutions) and all(
        step.mixing is not None and set(kernel) == {1}
        for step, kernel in zip(convolutions, kernels, strict=True)
    )


def _with_scales_folded(program: Program, rest: Sequence[Rest]) -> list[Rest]:
    """A batch normalisation that alone reads a first mixing's result becomes part of that mixing."""
    made = {call.results[0]: (at, call, mixing) for at, call, mixing in rest if mixing is not None}
    found = {at: (at, call, mixing) for at, call, mixing in rest}
    for at, call, _ in rest:
        mixed = made.get(call.args[0].index) if call.name in BATCH_NORMS else None
        if mixed is not None and _only_scales(program, call):
            before, conv, mixing = mixed
            assert mixing is not None
            folded = replace(conv, results=call.results[:1])
            found[at] = (at, folded, mixing.scaled(partial(_factors, call)))
            del found[before]
    return list(found.values())


def _only_scales(program: Program, call: Call) -> bool:
    """Whether constants scale the first argument here, and nothing else reads it."""
    first, *others = call.reads
    reads = [value for other in program.calls for value in other.reads]
    return (
        reads.count(first) == 1
        and all(map(program.is_constant, others))
        and not any(result is not None and program.is_read(result) for result in call.results[1:])
    )


def _factors(call: Call, constant: Constant) -> Tensor:
    """What a batch normalisation multiplies each channel by."""
    return batch_norm_scale(call, lambda leaf: constant(leaf.index) if isinstance(leaf, Value) else leaf)


def _with_changes_at_the_end(program: Program, rest: Sequence[Rest]) -> list[Step]:
    """Backwards from the logits: linear operations whose every reader is one of them hold changes."""
    rows: list[Step] = []
    valued = set[int]()  # what is read as a value
    for at, call, mixing in reversed(rest):
        depend = frozenset(v for v in call.reads if v not in program.external)
        linear = linear_form(call, depend) is not None
        changes = linear and not valued.intersection(call.results)
        if not changes:
            valued |= depend
        rows.append(Step(at, call, linear, changes, mixing, None, depend, frozenset()))
    return rows[::-1]


def _overwriting(program: Program, step: Step, own: Set[int]) -> OpOverload | None:
    """Pointwise operations write over what they alone still read: memory that is in the cache already."""
    call, first = step.call, step.call.reads[0]
    (result, *more) = call.results
    if step.changes or step.mixing or more or result is None or not is_pointwise(call):
        return None
    same = all(of[first] == of[result] for of in (program.shapes, program.dtypes))
    free = first in own & step.done and call.reads.count(first) == 1 and alike(call.args[0], Value(first))
    return overwriting_form(call.op) if same and free else None


def _owned(program: Program, per_channel: Collection[int], rows: Sequence[Step]) -> set[int]:
    """Values of rows in memory of their own, of which no other value is a view."""
    viewed = {value for step in rows if returns_views(step.call.op) for value in step.call.reads}
    made = {r for step in rows if not returns_views(step.call.op) for r in step.call.results if r is not None}
    return (made | set(per_channel)) - viewed - {program.logits}

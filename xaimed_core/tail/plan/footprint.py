"""How much memory a plan takes: once for an image, and for every row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from xaimed_core.tail.plan.steps import Step
from xaimed_core.tail.record.calls import Value
from xaimed_core.tail.record.program import Program


def front_bytes(
    program: Program, channels: int, per_channel: Iterable[int], bases: Iterable[int], rows: Sequence[Step]
) -> int:
    """Memory of one image before the rows: all changes of PerChannel values, the bases that are kept, the tables."""
    tables = [
        r for step in rows if step.mixing and step.mixing.table for r in step.call.results if r is not None
    ]
    weights = [
        leaf.index
        for step in rows
        if step.mixing and not step.mixing.table
        for leaf in step.call.args
        if isinstance(leaf, Value) and program.is_constant(leaf.index)
    ]
    changes = sum(_bytes(program, value) for value in (*per_channel, *weights))
    return (
        2 * changes
        + 2 * sum(_bytes(program, value) for value in bases)
        + channels * sum(_bytes(program, value) for value in tables)
    )


def row_bytes(program: Program, rows: Sequence[Step]) -> int:
    """The most memory that one row's values take at a time, each freed after its last reader."""
    last = {value: step.at for step in rows for value in step.call.reads}
    live: dict[int, int] = {}
    most = _bytes(program, program.logits)  # all there is where channels stay apart to the end
    for step in rows:
        for value in (*step.call.reads, *(r for r in step.call.results if r is not None)):
            if value not in program.external or program.external[value] is not None:
                live[value] = _bytes(program, value)
        most = max(most, sum(live.values()))
        live = {value: size for value, size in live.items() if last.get(value, -1) > step.at}
    return (
        2 * most
    )  # an operation's own workspace, e.g. a convolution in another layout, is of its values' size


def _bytes(program: Program, value: int) -> int:
    """Of one image or row, in the precision of changes."""
    return prod(program.shape(value, 1)) * max(program.dtypes[value].itemsize, 4)

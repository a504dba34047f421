"""What becomes of every operation of a program when channels are ablated, decided from shapes alone.

Front: operations that a rule carries, run once for all ablations. First mixings: their change is computed from the
one channel's. Rows: everything after, run in chunks; where nothing but linear operations follow, rows hold the
change itself instead of the value, so that the drop is never the difference of two logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

from xaimed_core.tail.carry.mixing import mixing_rule
from xaimed_core.tail.carry.rules import Carried, Site, carry
from xaimed_core.tail.carry.values import Block
from xaimed_core.tail.plan.footprint import front_bytes, row_bytes
from xaimed_core.tail.plan.steps import Rest, Step, change_only, positions_apart, steps_of
from xaimed_core.tail.record.calls import ACTIVATION, Call
from xaimed_core.tail.record.program import Program, at_batch

PROBE = 10007
"""Rules look at shapes for this many images: a prime that no other axis has, so that no axis passes for another."""


@final
@dataclass(frozen=True)
class Plan:
    """A program with the kind of each operation.

    front: operations carried by a rule, by their place; blocks: of every PerChannel value. rows: the rest, in order.
    bases: values whose base the rows need; base_calls: the operations that give them and what the front reads.
    entering: PerChannel values that the rows read. freed: what no later operation reads, by place.
    change_only: values of rows of which nothing but the change is needed, so that it may take their memory.
    channels_last: whether the rows keep channels together in memory, as pointwise work over them is fastest.
    front_bytes: memory of one image's front, row_bytes: of one row.
    """

    program: Program
    front: dict[int, Carried]
    blocks: dict[int, Block]
    rows: tuple[Step, ...]
    bases: frozenset[int]
    base_calls: frozenset[int]
    entering: tuple[int, ...]
    freed: dict[int, tuple[int, ...]]
    change_only: frozenset[int]
    channels_last: bool
    front_bytes: int
    row_bytes: int

    @property
    def closed(self) -> bool:
        """Whether everything after the front is linear: a closed form."""
        return all(step.changes for step in self.rows)

    @property
    def carried(self) -> tuple[str, ...]:
        """The front's operations."""
        return tuple(self.program.calls[at].name for at in self.front)

    @property
    def linear(self) -> tuple[str, ...]:
        """The operations of the rows that hold changes."""
        return tuple(step.call.name for step in self.rows if step.changes)

    @property
    def mixings(self) -> tuple[str, ...]:
        """The first mixings' operations."""
        return tuple(step.call.name for step in self.rows if step.mixing is not None)


def plan(program: Program, channels: int, channel_dim: int) -> Plan:
    """Decide for every operation. Raises `Unsupported` where values do not hold the batch in a way rows can have."""
    return _Planner(program, channels, channel_dim).plan()


@final
@dataclass
class _Planner:
    program: Program
    channels: int
    channel_dim: int
    front: dict[int, Carried] = field(default_factory=dict[int, Carried])
    blocks: dict[int, Block] = field(default_factory=dict[int, Block])
    dense: set[int] = field(default_factory=set[int])

    def plan(self) -> Plan:
        program = self.program
        ndim = len(program.shapes[ACTIVATION.index])
        self.blocks[ACTIVATION.index] = Block(self.channel_dim % ndim, 0, 1, self.channels)
        rest: list[Rest] = []
        for at, call in enumerate(program.calls):
            site = self._site(call)
            carried = self._carry(site)
            if carried is None:
                mixing = mixing_rule(site, program.is_constant) if self._only_per_channel(call) else None
                rest.append((at, call, mixing))
                self.dense.update(r for r in call.results if r is not None)
            else:
                self.front[at] = carried
                for result, block in zip(call.results, carried.blocks, strict=True):
                    if result is not None and block is not None:
                        self.blocks[result] = block
        rows = steps_of(program, self.blocks, rest)
        entering = tuple(sorted({v for step in rows for v in step.call.reads if v in self.blocks}))
        if program.logits in self.blocks:
            entering = tuple(sorted({*entering, program.logits}))
        bases = frozenset(self._bases(rows))
        for value in bases:
            program.batch(value)  # refused here or never: rows take it without asking
        return Plan(
            program=program,
            front=self.front,
            blocks=self.blocks,
            rows=rows,
            bases=bases,
            base_calls=self._base_calls(bases),
            entering=entering,
            freed=self._freed(),
            change_only=change_only(program, self.blocks, rows),
            channels_last=positions_apart(program, rows),
            front_bytes=front_bytes(program, self.channels, self.blocks, bases, rows),
            row_bytes=row_bytes(program, rows),
        )

    def _site(self, call: Call) -> Site:
        blocks = {value: self.blocks[value] for value in call.reads if value in self.blocks}
        return Site(at_batch(call, PROBE), PROBE, blocks, lambda value: self.program.shape(value, PROBE))

    def _only_per_channel(self, call: Call) -> bool:
        return not any(value in self.dense for value in call.reads)

    def _carry(self, site: Site) -> Carried | None:
        """The rule's finding where it applies to real numbers that keep the batch in front."""
        if not self._only_per_channel(site.call):
            return None
        carried = carry(site)
        if carried is None:
            return None
        for result, block in zip(site.call.results, carried.blocks, strict=True):
            if result is None:
                continue
            batch = self.program.batch(result)
            if block is None and self.program.is_read(result):
                return None
            if block is not None and not (
                batch is not None and batch.dim == 0 and self.program.dtypes[result].is_floating_point
            ):
                return None
        return carried

    def _bases(self, rows: tuple[Step, ...]) -> Iterator[int]:
        """Bases that rows read: of PerChannel values made dense, of first mixings, of values turned into changes."""
        made_by = {r: step for step in rows for r in step.call.results if r is not None}
        for step in rows:
            if step.mixing is not None and not step.changes:
                yield from (r for r in step.call.results if r is not None)
                continue
            for value in step.call.reads:
                made = made_by.get(value)
                if value in self.program.external:
                    continue
                if (step.changes and made is not None and not made.changes) or (
                    not step.changes and made is None
                ):
                    yield value
        logits = made_by.get(self.program.logits)
        if logits is not None and not logits.changes:
            yield self.program.logits

    def _base_calls(self, bases: frozenset[int]) -> frozenset[int]:
        needed = bases.union(*(carried.reads for carried in self.front.values()))
        found: set[int] = set()
        for at, call in reversed(list(enumerate(self.program.calls))):
            if needed.intersection(call.results):
                found.add(at)
                needed |= set(call.reads)
        return frozenset(found)

    def _freed(self) -> dict[int, tuple[int, ...]]:
        last: dict[int, int] = {}
        for at, call in enumerate(self.program.calls):
            touched = (*call.reads, *(r for r in call.results if r is not None))
            last.update(dict.fromkeys(touched, at))
        freed: dict[int, tuple[int, ...]] = {}
        for value, at in last.items():
            freed[at] = (*freed.get(at, ()), value)
        return freed

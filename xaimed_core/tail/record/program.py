"""A tail for any number of rows: integers of the tape as ``a + b * n``, from recordings at two batch sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.record.aten import address
from xaimed_core.tail.record.calls import ACTIVATION, Call, Tape, Value, alike, nested
from xaimed_core.tail.record.guards import Unsupported

_PICKING = """
    index_select index_add index_copy index_fill index_reduce gather scatter scatter_add scatter_reduce
"""
PICKING = frozenset(_PICKING.split())
"""Operations that are given an axis and places along it."""


@final
@dataclass(frozen=True)
class Affine:
    """An integer that grows with the batch: ``constant + per_image * n``."""

    constant: int
    per_image: int

    def at(self, n: int) -> int:
        """Its value for ``n`` images or rows."""
        return self.constant + self.per_image * n


@final
@dataclass(frozen=True)
class Batch:
    """Where a value holds the batch: along ``dim``, each image taking ``factor`` consecutive places."""

    dim: int
    factor: int


@final
@dataclass(frozen=True)
class Program:
    """The tail's operations, free of the batch size.

    calls: in order; integers that depend on the batch are `Affine`.
    shapes: of every value, likewise; dtypes. external: values that come from outside the tail, with where they hold the
        batch (None: they are the same for all images). logits: the value that targets read.
    """

    calls: tuple[Call, ...]
    shapes: dict[int, tuple[int | Affine, ...]]
    dtypes: dict[int, torch.dtype]
    external: dict[int, Batch | None]
    logits: int

    def shape(self, value: int, n: int) -> tuple[int, ...]:
        """A value's shape for ``n`` images or rows."""
        return tuple(size.at(n) if isinstance(size, Affine) else size for size in self.shapes[value])

    def is_constant(self, value: int) -> bool:
        """Whether a value is the same for all images."""
        return value in self.external and self.external[value] is None

    def is_read(self, value: int) -> bool:
        """Whether an operation or a target reads a value."""
        return value == self.logits or any(value in call.reads for call in self.calls)

    def batch(self, value: int) -> Batch | None:
        """Where a value holds the batch; None if it does not. Raises `Unsupported` where that is not one axis."""
        grown = [(dim, size) for dim, size in enumerate(self.shapes[value]) if isinstance(size, Affine)]
        if not grown:
            return None
        if len(grown) > 1 or grown[0][1].constant != 0:
            raise Unsupported(
                f"a value of shape {self.shape(value, 2)} for two images has no one axis that is the batch"
            )
        return Batch(grown[0][0], grown[0][1].per_image)

    def of_images(self, external: dict[int, Tensor], start: int, stop: int) -> dict[int, Tensor]:
        """External tensors for images ``start`` to ``stop`` of those they were recorded with, views."""
        found = dict(external)
        for value, batch in self.external.items():
            if batch is not None:
                found[value] = found[value].narrow(
                    batch.dim, start * batch.factor, (stop - start) * batch.factor
                )
        return found

    def fits(self, tape: Tape, n: int) -> bool:
        """Whether a recording at ``n`` images is of this very tail."""
        return (
            len(tape.calls) == len(self.calls)
            and tape.logits == self.logits
            and tape.dtypes == self.dtypes
            and tape.external.keys() == self.external.keys()
            and all(tape.shapes[value] == self.shape(value, n) for value in self.shapes)
            and all(
                _same_call(at_batch(mine, n), other)
                for mine, other in zip(self.calls, tape.calls, strict=True)
            )
        )


def at_batch(call: Call, n: int) -> Call:
    """The call with its integers for ``n`` images or rows."""
    return Call(
        call.op,
        nested(call.args, lambda leaf: leaf.at(n) if isinstance(leaf, Affine) else leaf),
        {
            k: nested(v, lambda leaf: leaf.at(n) if isinstance(leaf, Affine) else leaf)
            for k, v in call.kwargs.items()
        },
        call.results,
        call.dtype,
    )


def fit(first: Tape, n: int, second: Tape, m: int) -> Program:
    """The program of which both are recordings, at ``n`` and ``m`` images. Raises `Unsupported` where there is none."""
    if [c.op for c in first.calls] != [c.op for c in second.calls]:
        raise Unsupported(f"the tail runs other operations for {m} images than for {n}")
    line = _Line(n, m)
    calls = tuple(
        Call(a.op, line.through(a.args, b.args), _fit_keywords(line, a, b), a.results, a.dtype)
        for a, b in zip(first.calls, second.calls, strict=True)
        if a.results == b.results or _refuse_difference()
    )
    if first.dtypes != second.dtypes or first.logits != second.logits:
        _refuse_difference()
    shapes = {value: line.through(first.shapes[value], second.shapes[value]) for value in first.shapes}
    program = Program(calls, shapes, first.dtypes, dict.fromkeys(first.external), first.logits)
    _refuse_sums_over_the_batch(program)
    for value in first.external:
        program.external[value] = program.batch(value)
        if program.external[value] is None:
            _refuse_unequal(first.external[value], second.external[value])
    _refuse_images_picked_by_number(program)
    if program.batch(ACTIVATION.index) != Batch(0, 1) or program.batch(first.logits) != Batch(0, 1):
        raise Unsupported("the layer's output or the model's does not hold the batch along its first axis")
    return program


@final
@dataclass(frozen=True)
class _Line:
    """The straight line through two batch sizes."""

    n: int
    m: int

    def through(self, a: Any, b: Any) -> Any:
        if isinstance(a, tuple | list) and type(a) is type(b) and len(a) == len(b):
            return type(a)(self.through(x, y) for x, y in zip(a, b, strict=True))
        if alike(a, b):
            return a
        if type(a) is int and type(b) is int and (a - b) % (self.n - self.m) == 0:
            slope = (a - b) // (self.n - self.m)
            return Affine(a - slope * self.n, slope)
        raise Unsupported(f"an argument is {_shown(a)} for {self.n} images and {_shown(b)} for {self.m}")


def _shown(leaf: Any) -> str:
    return repr(leaf) if isinstance(leaf, bool | int | float | str) else f"a {type(leaf).__name__}"


def _fit_keywords(line: _Line, a: Call, b: Call) -> dict[str, Any]:
    if a.kwargs.keys() != b.kwargs.keys():
        _refuse_difference()
    return {key: line.through(a.kwargs[key], b.kwargs[key]) for key in a.kwargs}


def _refuse_difference() -> bool:
    raise Unsupported("the tail wires its operations differently at another batch size")


def _refuse_sums_over_the_batch(program: Program) -> None:
    """A result without the batch is of all images together, whether or not that shows in the ablations looked at."""
    read = {program.logits}.union(*(call.reads for call in program.calls))
    for call in program.calls:
        for result in read.intersection(call.results):
            if not any(isinstance(size, Affine) for size in program.shapes[result]):
                raise Unsupported(f"{call.name} takes all images of the batch together", one_row=True)


def _refuse_images_picked_by_number(program: Program) -> None:
    """Numbers of images in the caller's batch are not those of rows, even where the rows looked at happen to agree."""
    for call in program.calls:
        numbers = _numbers_of_images(call, program)
        computed = [i for i in numbers if i not in program.external]
        if any(program.dtypes[i] != torch.bool for i in computed):
            raise Unsupported(f"{call.name} picks images by what is computed of them", one_row=True)
        if any(program.external.get(i) is not None for i in numbers):
            raise Unsupported(f"{call.name} picks images by their number in the batch")


def _numbers_of_images(call: Call, program: Program) -> list[int]:
    """The values that this call takes for places along the axis that is the batch."""
    source = call.args[0] if call.args else None
    if not isinstance(source, Value) or (batch := program.batch(source.index)) is None:
        return []
    found: Any = ()
    if call.name in ("index", "index_put", "_unsafe_index"):
        found = call.args[1][batch.dim : batch.dim + 1]
    elif call.name in PICKING and call.args[1] % len(program.shapes[source.index]) == batch.dim:
        found = call.args[2:3]
    return [leaf.index for leaf in found if isinstance(leaf, Value)]


def _refuse_unequal(a: Tensor, b: Tensor) -> None:
    """What all images share must be the same at every batch size."""
    same = (a.dtype, a.device) == (b.dtype, b.device)
    if not same or not (_looks_alike(a, b) or torch.isclose(a, b, 0, 0, equal_nan=True).all()):
        raise Unsupported("a tensor that all images share was another at another batch size")


def _looks_alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape are the same part of the same memory."""
    parts = [(address(x), x.storage_offset(), x.stride(), x.is_conj(), x.is_neg()) for x in (a, b)]
    return parts[0] == parts[1]


def _same_call(a: Call, b: Call) -> bool:
    return (
        a.op is b.op
        and a.results == b.results
        and a.dtype == b.dtype
        and alike(a.args, b.args)
        and a.kwargs.keys() == b.kwargs.keys()
        and all(alike(a.kwargs[key], b.kwargs[key]) for key in a.kwargs)
    )

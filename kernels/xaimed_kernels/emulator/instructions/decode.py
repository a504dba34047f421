"""Instructions to functions: each is decoded once, and then executed for all threads of its mask at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np

from xaimed_kernels.emulator.instructions import collectives, transfers
from xaimed_kernels.emulator.instructions.arithmetic import arithmetic
from xaimed_kernels.emulator.instructions.operands import Source, several, source, target
from xaimed_kernels.emulator.program import Instruction, Program, UnknownInstructionError
from xaimed_kernels.emulator.ptx_types import TYPES, UNSIGNED, Array
from xaimed_kernels.emulator.threads import Threads

Step = Callable[[Threads, Array | None], None]
"""Executes one instruction for the active threads (None: all)."""


@final
@dataclass(frozen=True)
class Decoded:
    """An instruction ready to run. ``step`` is None where it decides what is executed next.

    ``guard``: the predicate that ``on`` has to equal; ``targets`` of a branch, chosen by ``index`` if indexed.
    """

    instruction: Instruction
    step: Step | None
    guard: Source | None
    on: bool
    targets: tuple[int, ...] = ()
    index: Source | None = None

    def chosen(self, threads: Threads, active: Array) -> Array:
        """Those of the active threads that its guard lets through."""
        if self.guard is None:
            return active
        return active & (threads.full(self.guard(threads)) == self.on)


def decode(instruction: Instruction, program: Program) -> Decoded:
    """Read an instruction once for all. Raises: UnknownInstructionError for one that is not modelled."""
    register, on = instruction.guard or ("", True)
    guard = source(register, TYPES["pred"], program) if register else None
    operands, opcode = instruction.operands, instruction.opcode
    match opcode:
        case "bra" | "bra.uni":
            return Decoded(instruction, None, guard, on, (program.labels[operands[0]],))
        case "brx.idx":
            targets = tuple(program.labels[label] for label in program.tables[operands[1]])
            return Decoded(instruction, None, guard, on, targets, source(operands[0], TYPES["u32"], program))
        case "ret" | "exit":
            return Decoded(instruction, None, guard, on)
        case "bar.sync" | "barrier.sync" if operands == ("0",) and guard is None:
            return Decoded(instruction, None, guard, on)
        case _:
            return Decoded(instruction, _step(instruction, program), guard, on)


def _step(instruction: Instruction, program: Program) -> Step:
    try:
        if arithmetic(instruction.opcode) is not None:
            return _arithmetic(instruction, program)
        stem = instruction.opcode.partition(".")[0]
        return _DECODERS[stem](instruction, program)
    except (KeyError, ValueError, IndexError, UnknownInstructionError):
        raise UnknownInstructionError(instruction.text) from None


def _arithmetic(instruction: Instruction, program: Program) -> Step:
    operation = arithmetic(instruction.opcode)
    assert operation is not None
    result, *operands = instruction.operands
    sources = [
        source(operand, kind, program) for operand, kind in zip(operands, operation.sources, strict=True)
    ]
    put = target(result, operation.result, program)
    compute, encode = operation.compute, operation.result.encode

    def step(threads: Threads, active: Array | None) -> None:
        put(threads, encode(compute(*[read(threads) for read in sources])), active)

    return step


def _move(instruction: Instruction, program: Program) -> Step:
    """``mov``, also of parts into a whole and the other way round."""
    into, taken = instruction.operands
    kind = TYPES[instruction.opcode.removeprefix("mov.")]
    parts_into, parts_taken = several(into), several(taken)
    if len(parts_into) > 1:
        part = TYPES[f"b{8 * kind.size // len(parts_into)}"]
        puts = [target(operand, part, program) for operand in parts_into]
        read = source(taken, kind, program)
        return partial(_split, read, puts, part.size)
    if len(parts_taken) > 1:
        part = TYPES[f"b{8 * kind.size // len(parts_taken)}"]
        reads = [source(operand, part, program) for operand in parts_taken]
        return partial(_join, reads, target(into, kind, program), part.size, kind.size)
    read, put = source(taken, kind, program), target(into, kind, program)
    return lambda threads, active: put(threads, kind.encode(read(threads)), active)


def _split(
    read: Callable[[Threads], Array],
    puts: list[Callable[..., None]],
    size: int,
    threads: Threads,
    active: Array | None,
) -> None:
    whole = read(threads)
    for i, put in enumerate(puts):
        put(threads, (whole >> np.array(8 * size * i, whole.dtype)).astype(UNSIGNED[size]), active)


def _join(
    reads: list[Callable[[Threads], Array]],
    put: Callable[..., None],
    size: int,
    whole: int,
    threads: Threads,
    active: Array | None,
) -> None:
    kind = UNSIGNED[whole]
    parts = [read(threads).astype(kind) << np.array(8 * size * i, kind) for i, read in enumerate(reads)]
    put(threads, sum(parts[1:], parts[0]), active)


_DECODERS: dict[str, Callable[[Instruction, Program], Step]] = {
    "mov": _move,
    "ld": transfers.load,
    "st": transfers.store,
    "atom": transfers.atomic,
    "cp": transfers.copy,
    "shfl": collectives.shuffle,
    "redux": collectives.reduce,
    "ldmatrix": collectives.load_matrix,
    "stmatrix": collectives.store_matrix,
    "bar": collectives.warp_barrier,
}

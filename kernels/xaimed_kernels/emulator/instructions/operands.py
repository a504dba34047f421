"""An instruction's operands, read once: registers, numbers, special registers, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from xaimed_kernels.emulator.memory import SHARED_BASE
from xaimed_kernels.emulator.program import Program, UnknownInstructionError, split_operands
from xaimed_kernels.emulator.ptx_types import TYPES, UNSIGNED, Array, Type
from xaimed_kernels.emulator.threads import Threads

Source = Callable[[Threads], Array]
"""Gives an operand's value, one a thread or one for all."""
Target = Callable[[Threads, Array, Array | None], None]
"""Takes threads, the bits for each, and which threads are active."""

SPECIAL: dict[str, Source] = {
    "%tid.x": lambda threads: (threads.index % threads.per_block).astype(np.uint32),
    "%ctaid.x": lambda threads: threads.block.astype(np.uint32),
    "%nctaid.x": lambda threads: np.array([threads.grid], np.uint32),
    "%ntid.x": lambda threads: np.array([threads.per_block], np.uint32),
    "%laneid": lambda threads: (threads.index % 32).astype(np.uint32),
    **{f"%{name}.{axis}": lambda _: np.zeros(1, np.uint32) for name in ("tid", "ctaid") for axis in "yz"},
}


def source(operand: str, kind: Type, program: Program) -> Source:
    """The operand as values of ``kind``. Raises: UnknownInstructionError for one of no known form."""
    if operand in program.registers:
        index = program.registers[operand].number
        return lambda threads: kind.decode(threads.registers[index])
    if operand in SPECIAL:
        special = SPECIAL[operand]
        return lambda threads: kind.decode(special(threads))
    value = kind.decode(_constant(operand, kind))
    return lambda _: value


def _constant(operand: str, kind: Type) -> Array:
    """Bits of a number; floats are written by their bits."""
    if kind.kind == "predicate":
        return np.array([int(operand, 0) != 0])
    if operand == "global_smem":
        return np.array([SHARED_BASE], UNSIGNED[kind.size])
    if re.fullmatch(r"0[fFdD][0-9A-Fa-f]+", operand):
        bits = int(operand[2:], 16)
    elif re.fullmatch(r"-?(0[xX][0-9A-Fa-f]+|\d+)U?", operand):
        bits = int(operand.rstrip("U"), 0)
    else:
        raise UnknownInstructionError(operand)
    return np.array([bits & (1 << 8 * kind.size) - 1], UNSIGNED[kind.size])


def target(operand: str, kind: Type, program: Program) -> Target:
    """Where a result of ``kind`` goes: a register of its size or wider, or nowhere (``_``)."""
    if operand == "_":
        return lambda threads, bits, active: None
    if operand not in program.registers:
        raise UnknownInstructionError(operand)
    register = program.registers[operand]
    index, size = register.number, register.kind.size
    if (register.kind.kind == "predicate") != (kind.kind == "predicate") or size < kind.size:
        raise UnknownInstructionError(f"{kind.name} into {operand}")

    def put(threads: Threads, bits: Array, active: Array | None) -> None:
        threads.set(index, kind.widen(bits, size), active)

    return put


def address(operand: str, program: Program) -> Source:
    """``[%rd1 + 16]`` or ``[global_smem+4]``, one 64-bit address a thread."""
    found = re.fullmatch(r"\[\s*([%\w]+)\s*(?:\+\s*(-?\d+)\s*)?\]", operand)
    if found is None:
        raise UnknownInstructionError(operand)
    register = program.registers.get(found[1])
    start = source(found[1], register.kind if register else TYPES["b64"], program)
    offset = np.uint64(int(found[2] or 0) & (1 << 64) - 1)
    return lambda threads: threads.full(start(threads)).astype(np.uint64) + offset


def several(operand: str) -> tuple[str, ...]:
    """The operands in braces, or the one without."""
    return split_operands(operand.strip("{} ")) if operand.startswith("{") else (operand,)

"""Instructions that the lanes of a warp execute together: shuffles, reductions, matrices of 8 x 8, barriers."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from xaimed_kernels.emulator.findings import Fault
from xaimed_kernels.emulator.instructions.operands import address, several, source, target
from xaimed_kernels.emulator.memory import Access
from xaimed_kernels.emulator.program import Instruction, Program, UnknownInstructionError
from xaimed_kernels.emulator.ptx_types import TYPES, Array
from xaimed_kernels.emulator.threads import Threads

Step = Callable[[Threads, Array | None], None]

_U32 = TYPES["b32"]
_LANES = np.arange(32)
_ALL = 0xFFFFFFFF


def shuffle(instruction: Instruction, program: Program) -> Step:
    """``shfl.sync``: each lane takes the value of another, by number (``idx``) or by xor (``bfly``)."""
    found = re.fullmatch(r"shfl\.sync\.(bfly|idx)\.b32", instruction.opcode)
    into, taken, by, *segments = instruction.operands
    clamp, members = (_integer(operand, program) for operand in segments)
    if found is None or clamp != 31 or members != _ALL:
        raise UnknownInstructionError(instruction.text)
    butterfly = found[1] == "bfly"
    read, lane, put = source(taken, _U32, program), source(by, _U32, program), target(into, _U32, program)

    def step(threads: Threads, active: Array | None) -> None:
        _expect_whole_warps(threads, active, instruction)
        values, lanes = (threads.full(v(threads)).reshape(-1, 32) for v in (read, lane))
        wanted = (_LANES ^ lanes if butterfly else lanes) & 31
        put(threads, np.take_along_axis(values, wanted.astype(np.int64), 1).reshape(-1), active)

    return step


_REDUCTIONS: dict[str, Callable[..., Array]] = {"add": np.sum, "min": np.min, "max": np.max}


def reduce(instruction: Instruction, program: Program) -> Step:
    """``redux.sync``: all lanes get the sum, least or largest of their values."""
    found = re.fullmatch(r"redux\.sync\.(add|min|max)\.([su]32)", instruction.opcode)
    into, taken, members = instruction.operands
    if found is None or _integer(members, program) not in (_ALL, None):
        raise UnknownInstructionError(instruction.text)
    kind, how = TYPES[found[2]], _REDUCTIONS[found[1]]
    read, put = source(taken, kind, program), target(into, kind, program)

    def step(threads: Threads, active: Array | None) -> None:
        _expect_whole_warps(threads, active, instruction)
        reduced = how(threads.full(read(threads)).reshape(-1, 32), axis=1)
        put(threads, kind.encode(np.repeat(reduced, 32)), active)

    return step


_MATRIX = re.compile(r"(?:ld|st)matrix\.sync\.aligned\.m8n8\.x([124])(\.trans)?\.shared\.b16")


def load_matrix(instruction: Instruction, program: Program) -> Step:
    """``ldmatrix``: matrices of 8 x 8 elements of 2 bytes; 8 lanes point at the rows of each."""
    into, place = instruction.operands
    matrices, transposed = _matrices(instruction)
    puts = [target(operand, _U32, program) for operand in several(into)]
    rows, access = address(place, program), Access(instruction, 2)

    def step(threads: Threads, active: Array | None) -> None:
        _expect_whole_warps(threads, active, instruction)
        places, pointers = threads.active(active), rows(threads)
        for matrix, put in zip(range(matrices), puts, strict=True):
            halves = [
                threads.load(threads.shared, at[places], places, access)[0].astype(np.uint32)
                for at in _element_addresses(pointers, matrix, transposed)
            ]
            bits = np.zeros(threads.count, np.uint32)
            bits[places] = halves[0] | halves[1] << 16
            put(threads, bits, active)

    return step


def store_matrix(instruction: Instruction, program: Program) -> Step:
    """``stmatrix``: the way back."""
    place, taken = instruction.operands
    matrices, transposed = _matrices(instruction)
    reads = [source(operand, _U32, program) for operand in several(taken)]
    rows, access = address(place, program), Access(instruction, 2)

    def step(threads: Threads, active: Array | None) -> None:
        _expect_whole_warps(threads, active, instruction)
        places, pointers = threads.active(active), rows(threads)
        for matrix, read in zip(range(matrices), reads, strict=True):
            bits = threads.full(read(threads))[places]
            for half, at in enumerate(_element_addresses(pointers, matrix, transposed)):
                values = (bits >> 16 * half).astype(np.uint16)
                threads.store(threads.shared, at[places], places, (values,), access)

    return step


def warp_barrier(instruction: Instruction, program: Program) -> Step:
    """``bar.warp.sync``: orders the accesses of a warp."""
    if instruction.opcode != "bar.warp.sync" or _integer(instruction.operands[0], program) not in (
        _ALL,
        None,
    ):
        raise UnknownInstructionError(instruction.text)

    def step(threads: Threads, active: Array | None) -> None:
        _expect_whole_warps(threads, active, instruction)
        threads.pass_barrier(active, of_block=False)

    return step


def _element_addresses(pointers: Array, matrix: int, transposed: bool) -> list[Array]:
    """Addresses of each lane's two elements: row ``lane / 4``, columns ``2 (lane % 4)`` and the next."""
    by_warp = pointers.reshape(-1, 32)
    found: list[Array] = []
    for half in range(2):
        row, column = _LANES // 4, 2 * (_LANES % 4) + half
        if transposed:
            row, column = column, row
        found.append((by_warp[:, 8 * matrix + row] + (2 * column).astype(np.uint64)).reshape(-1))
    return found


def _matrices(instruction: Instruction) -> tuple[int, bool]:
    found = _MATRIX.fullmatch(instruction.opcode)
    if found is None:
        raise UnknownInstructionError(instruction.text)
    return int(found[1]), found[2] is not None


def _expect_whole_warps(threads: Threads, active: Array | None, instruction: Instruction) -> None:
    if active is None:
        return
    by_warp = active.reshape(-1, 32)
    torn = by_warp.any(1) & ~by_warp.all(1)
    if torn.any():
        warp = int(np.flatnonzero(torn)[0])
        missing = 32 - int(by_warp[warp].sum())
        example = f"{missing} lanes of warp {threads.warp[32 * warp]} are elsewhere"
        threads.findings.note(Fault.MISSING_LANES, instruction, example, int(torn.sum()))


def _integer(operand: str, program: Program) -> int | None:
    """A number as its 32 bits; None for a register."""
    return None if operand in program.registers else int(operand, 0) & _ALL

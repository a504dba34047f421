"""Instructions that move data between registers and memory, and from memory to memory."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from xaimed_kernels.emulator.instructions.operands import address, several, source, target
from xaimed_kernels.emulator.memory import Access, Space
from xaimed_kernels.emulator.program import Instruction, Program, UnknownInstructionError
from xaimed_kernels.emulator.ptx_types import TYPES, UNSIGNED, Array
from xaimed_kernels.emulator.threads import Copy, Threads

Step = Callable[[Threads, Array | None], None]

_TRANSFER = re.compile(r"(?:ld|st)\.(global|shared|shared::cta)(?:\.v([24]))?\.([bus](?:8|16|32|64)|f32|f64)")


def load(instruction: Instruction, program: Program) -> Step:
    """``ld.param``, ``ld.global`` and ``ld.shared``, one, two or four elements."""
    if instruction.opcode.startswith("ld.param."):
        return _load_parameter(instruction, program)
    found = _matched(_TRANSFER, instruction)
    kind, elements = TYPES[found[3]], int(found[2] or 1)
    into, place = instruction.operands
    puts = [target(operand, kind, program) for operand in several(into)]
    where, access = address(place, program), Access(instruction, kind.size, elements)
    _require(len(puts) == elements, instruction)
    everywhere = _spaces(found[1])

    def step(threads: Threads, active: Array | None) -> None:
        places = threads.active(active)
        loaded = threads.load(everywhere(threads), where(threads)[places], places, access)
        for put, values in zip(puts, loaded, strict=True):
            put(threads, _spread(threads, values, places, active), active)

    return step


def store(instruction: Instruction, program: Program) -> Step:
    """``st.global`` and ``st.shared``."""
    found = _matched(_TRANSFER, instruction)
    kind, elements = TYPES[f"b{8 * TYPES[found[3]].size}"], int(found[2] or 1)
    place, taken = instruction.operands
    reads = [source(operand, kind, program) for operand in several(taken)]
    where, access = address(place, program), Access(instruction, kind.size, elements)
    _require(len(reads) == elements, instruction)
    everywhere = _spaces(found[1])

    def step(threads: Threads, active: Array | None) -> None:
        places = threads.active(active)
        values = tuple(threads.full(read(threads))[places] for read in reads)
        threads.store(everywhere(threads), where(threads)[places], places, values, access)

    return step


_ATOMIC = re.compile(
    r"atom\.(global|shared)\.(?:gpu|cta)\.(?:relaxed|acq_rel)\.(max|min|add|exch)\.([sub]32|f32)"
)
_UPDATES: dict[str, Callable[[Array, Array], Array]] = {
    "max": np.maximum,
    "min": np.minimum,
    "add": np.add,
    "exch": lambda old, new: new,
}


def atomic(instruction: Instruction, program: Program) -> Step:
    """``atom``: thread after thread, in the order of their numbers; what changes nothing is no write."""
    found = _matched(_ATOMIC, instruction)
    kind, update = TYPES[found[3]], _UPDATES[found[2]]
    into, place, operand = instruction.operands
    put, where, given = target(into, kind, program), address(place, program), source(operand, kind, program)
    access = Access(instruction, kind.size, atomic=True)
    everywhere = _spaces(found[1])

    def step(threads: Threads, active: Array | None) -> None:
        places, space = threads.active(active), everywhere(threads)
        addresses, operands = where(threads), threads.full(given(threads))
        threads.count_access(space, addresses[places], threads.accessors(places), access, store=True)
        before = np.zeros(threads.count, UNSIGNED[kind.size])
        for one in places.reshape(-1, 1):
            old = threads.peek(space, addresses[one], one, access)
            before[one] = old
            new = kind.encode(update(kind.decode(old), operands[one]))
            if new != old:
                threads.store(space, addresses[one], one, (new,), access)
        put(threads, before, active)

    return step


_COPY = re.compile(r"cp\.async\.c[ag]\.shared\.global")


def copy(instruction: Instruction, program: Program) -> Step:
    """``cp.async``: read at once, written to shared memory when the thread has waited for the copy's group."""
    if instruction.opcode == "cp.async.commit_group":
        return _commit
    if instruction.opcode == "cp.async.wait_group":
        (left,) = instruction.operands
        return lambda threads, active: threads.finish_copies(active, left=int(left))
    _matched(_COPY, instruction)
    into, taken, size, *rest = instruction.operands
    where_to, where_from = address(into, program), address(taken, program)
    access = Access(instruction, 4, int(size, 0) // 4)
    filled = source(rest[0] if rest else size, TYPES["u32"], program)

    def step(threads: Threads, active: Array | None) -> None:
        places = threads.active(active)
        # of a copy only so many bytes are read, and the rest is 0: Triton asks for all or nothing
        bytes_read = threads.full(filled(threads))[places]
        _require(bool(np.isin(bytes_read, (0, access.bytes)).all()), instruction)
        reading = np.flatnonzero(bytes_read)
        values = tuple(np.zeros(len(places), np.uint32) for _ in range(access.elements))
        loaded = threads.load(threads.memory, where_from(threads)[places[reading]], places[reading], access)
        for value, element in zip(values, loaded, strict=True):
            value[reading] = element
        threads.begin_copy(Copy(places, threads.committed[places], where_to(threads)[places], values, access))

    return step


def _commit(threads: Threads, active: Array | None) -> None:
    threads.committed[threads.active(active)] += 1


def _load_parameter(instruction: Instruction, program: Program) -> Step:
    into, place = instruction.operands
    name = place.strip("[] ")
    kind = TYPES[instruction.opcode.removeprefix("ld.param.")]
    put, size = target(into, kind, program), program.parameters[name].size
    _require(size == kind.size, instruction)
    return lambda threads, active: put(threads, threads.arguments[name], active)


def _spaces(name: str) -> Callable[[Threads], Space]:
    if name == "global":
        return lambda threads: threads.memory
    return lambda threads: threads.shared


def _spread(threads: Threads, values: Array, places: Array, active: Array | None) -> Array:
    if active is None:
        return values
    spread = np.zeros(threads.count, values.dtype)
    spread[places] = values
    return spread


def _matched(pattern: re.Pattern[str], instruction: Instruction) -> re.Match[str]:
    found = pattern.fullmatch(instruction.opcode)
    if found is None:
        raise UnknownInstructionError(instruction.text)
    return found


def _require(known: bool, instruction: Instruction) -> None:
    if not known:
        raise UnknownInstructionError(instruction.text)

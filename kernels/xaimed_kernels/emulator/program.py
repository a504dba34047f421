"""PTX as text, read into instructions: no more of its syntax than Triton writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from xaimed_kernels.emulator.ptx_types import TYPES, Type


class UnknownInstructionError(NotImplementedError):
    """PTX that the emulator does not model: it refuses rather than guess."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the emulator does not know {what!r}; add it in kernels/xaimed_kernels/emulator")


@final
@dataclass(frozen=True)
class Instruction:
    """One instruction: ``@!%p1 add.s32 %r1, %r2, 4`` and the place in the kernel's source it comes from.

    ``guard``: the register of its predicate, and whether it runs where that is true.
    """

    opcode: str
    operands: tuple[str, ...]
    guard: tuple[str, bool] | None
    text: str
    place: str


@final
@dataclass(frozen=True)
class Register:
    """A register's place among all of the kernel, and its type."""

    number: int
    kind: Type


@final
@dataclass(frozen=True)
class Program:
    """A kernel's PTX. ``labels``: the instruction that each stands before; ``tables``: of indexed branches."""

    name: str
    threads: int
    parameters: Mapping[str, Type]
    registers: Mapping[str, Register]
    instructions: tuple[Instruction, ...]
    labels: Mapping[str, int]
    tables: Mapping[str, tuple[str, ...]]

    def smallest_access(self, space: str) -> int:
        """Bytes of the smallest access to "shared" or "global" memory, 4 at most: what races are looked for in."""
        sizes = [4]
        for instruction in self.instructions:
            if space in re.split(r"[.:]+", instruction.opcode):
                suffix = instruction.opcode.rpartition(".")[2]
                sizes += [TYPES[suffix].size] if suffix in TYPES else []
        return min(sizes)


_ENTRY = re.compile(r"\.visible \.entry (\w+)\((.*?)\)\s*(.*?)\{(.*?)\n\}", re.DOTALL)
_PLACE = re.compile(r"\s*\.loc\s.*?//\s*(.+?:(\d+))\b")
_GUARDED = re.compile(r"@(!?)(%\w+)\s+(.*)")


def parse(ptx: str) -> Program:
    """Read the one kernel of a PTX module. Raises: ValueError where the text has not the form that Triton writes."""
    found = _ENTRY.search(ptx)
    if found is None:
        raise ValueError("this PTX has no .visible .entry")
    name, parameters, directives, body = found.groups()
    threads = re.search(r"\.reqntid (\d+)", directives)
    if threads is None:
        raise ValueError(f"{name} does not say how many threads it has (.reqntid)")
    kinds = {
        f"{stem}{i}": TYPES[kind]
        for kind, stem, count in re.findall(r"\.reg \.(\w+)\s+(%\w+)<(\d+)>", body)
        for i in range(int(count))
    }
    registers = {register: Register(number, kind) for number, (register, kind) in enumerate(kinds.items())}
    instructions, labels, tables = _read_body(body)
    declared = re.findall(r"\.param \.(\w+)[^,]*?(\w+)\s*(?:,|$)", parameters)
    return Program(
        name,
        int(threads[1]),
        {parameter: TYPES[kind] for kind, parameter in declared},
        registers,
        tuple(instructions),
        labels,
        tables,
    )


def _read_body(body: str) -> tuple[list[Instruction], dict[str, int], dict[str, tuple[str, ...]]]:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    tables: dict[str, tuple[str, ...]] = {}
    for text, place in _statements(body):
        label = re.match(r"(\$\w+):\s*", text)
        statement = text[label.end() :] if label else text
        if label is not None:
            labels[label[1]] = len(instructions)
        if statement.startswith(".branchtargets") and label is not None:
            tables[label[1]] = tuple(re.findall(r"\$\w+", statement))
        elif statement and not statement.startswith((".reg", ".pragma")):
            instructions.append(_instruction(statement, place))
    return instructions, labels, tables


def _statements(body: str) -> list[tuple[str, str]]:
    """Statements and labels in order, without comments, each with its place in the source."""
    found: list[tuple[str, str]] = []
    place, pending = "", ""
    for line in body.splitlines():
        if located := _PLACE.match(line):
            place = located[1] if int(located[2]) else ""  # line 0: the compiler does not know it
            continue
        text = line.partition("//")[0].strip()
        if text.startswith((".loc", ".file")):
            continue
        if re.fullmatch(r"\$\w+:", text):
            found.append((text, place))
            continue
        pending = f"{pending} {text}".strip()
        *whole, pending = pending.split(";")
        found += [(part.strip(), place) for part in whole]
    if pending.strip():
        raise ValueError(f"PTX that ends within a statement: {pending[:80]!r}")
    return found


def _instruction(statement: str, place: str) -> Instruction:
    guarded = _GUARDED.match(statement)
    guard = (guarded[2], not guarded[1]) if guarded else None
    opcode, _, operands = (guarded[3] if guarded else statement).partition(" ")
    opcode, _, more = opcode.partition("\t")
    return Instruction(
        opcode, split_operands(f"{more} {operands}"), guard, " ".join(statement.split()), place
    )


def split_operands(text: str) -> tuple[str, ...]:
    """Split at commas outside brackets: ``{%r1, %r2}, [%rd1+16]`` are two operands."""
    parts = re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", text)
    return tuple(stripped for part in parts if (stripped := part.strip()))

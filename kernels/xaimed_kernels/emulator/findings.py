"""What the emulator reports of a kernel: faults, each once with an example and how often it was seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import final

from xaimed_kernels.emulator.program import Instruction


class Fault(StrEnum):
    """Kinds of faults."""

    RACE_IN_WARP = "race within a warp"
    RACE_BETWEEN_WARPS = "race between warps"
    RACE_BETWEEN_BLOCKS = "race between blocks"
    OUTSIDE = "access outside of memory"
    MISALIGNED = "misaligned access"
    DIVERGENT_BARRIER = "divergent barrier"
    UNINITIALISED = "uninitialised shared memory"
    UNFINISHED_COPY = "shared memory that a copy is still on its way to"
    MISSING_LANES = "exchange between lanes that are not all there"


@final
@dataclass(frozen=True)
class Finding:
    """A fault at one instruction of a kernel. ``example``: the first time it was seen; ``times``: how often."""

    fault: Fault
    kernel: str
    place: str
    instruction: str
    example: str
    times: int

    def __str__(self) -> str:
        return (
            f"{self.fault} in {self.kernel} at {self.place or 'an unknown line'}: {self.example} "
            f"({self.instruction}; seen {self.times} times)"
        )


@final
@dataclass
class Findings:
    """Gathers what is found in the launches of one kernel."""

    kernel: str
    _seen: dict[tuple[Fault, str, str], tuple[str, int]] = field(
        default_factory=dict[tuple[Fault, str, str], tuple[str, int]]
    )

    def note(self, fault: Fault, instruction: Instruction, example: str, times: int = 1) -> None:
        """Add a fault, ``times`` threads at once."""
        key = (fault, instruction.place, instruction.text)
        first, before = self._seen.get(key, (example, 0))
        self._seen[key] = first, before + times

    def __iter__(self) -> Iterator[Finding]:
        for (fault, place, text), (example, times) in self._seen.items():
            yield Finding(fault, self.kernel, place, text, example, times)

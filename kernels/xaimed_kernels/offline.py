"""Compiling every kernel without a GPU, for every GPU, and reading what the compiler made of it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any, Literal, final

from xaimed_kernels.disassembly import Counts, count_amdgcn, count_sass
from xaimed_kernels.launching import KernelCase, recording
from xaimed_kernels.operations import OPERATIONS

Architecture = int | str
"""A CUDA compute capability times 10 (80, 90, ...) or an AMD name ("gfx942")."""

TARGETS: tuple[Architecture, ...] = (75, 80, 86, 89, 90, 100, 120, "gfx942")
"""The architectures that kernels are compiled for."""


@final
@dataclass(frozen=True)
class CompiledFacts:
    """What a compiled kernel takes, each thread or program of it.

    ``registers`` per thread (AMD: vector registers); ``spilled_bytes`` of a thread's registers that live in
    memory instead; ``shared_bytes`` of on-chip memory per program; ``counts`` of the machine code's instructions.
    """

    registers: int
    spilled_bytes: int
    shared_bytes: int
    counts: Counts

    @property
    def instructions(self) -> int:
        """All of them, padding included."""
        return sum(self.counts.classes.values())


def offline_cases(*, known: Literal["least", "most"] = "least") -> dict[str, tuple[KernelCase, ...]]:
    """By operation, every configuration in which its cases launch kernels, each once, under its name.

    Launches alike in all but the values of ints count as one, the one in which Triton
    knows ``least`` about them, or ``most`` (aligned addresses, strides of 1: wide loads). Needs Triton outside its
    interpreter.
    """
    sign = -1 if known == "least" else 1
    found: dict[str, tuple[KernelCase, ...]] = {}
    for operation in OPERATIONS:
        with recording() as launches:
            for case in operation.to_compile():
                operation.run(case, "triton", *case.make("meta"))
        chosen_last = sorted(launches, key=lambda c: (sign * (len(c.constants) + len(c.divisible)), c.name))
        found[operation.name] = tuple({case.name: case for case in chosen_last}.values())
    return found


def compile_offline(case: KernelCase, target: Architecture) -> CompiledFacts:
    """Compile one kernel for one architecture and read its registers, spills, shared memory, instructions.

    Raises Triton's own compilation errors, and RuntimeError where the compiler's report cannot be read.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    amd = isinstance(target, str)
    gpu = GPUTarget("hip", target, 64) if amd else GPUTarget("cuda", target, 32)
    attributes = {path: [["tt.divisibility", 16]] for path in case.divisible}
    source = ASTSource(case.kernel, dict(case.signature), dict(case.constants), attributes)
    compiled: Any = triton.compile(
        source, target=gpu, options={"num_warps": case.warps, "num_stages": case.stages}
    )
    registers, spilled, counts = (
        _amd_usage(compiled.asm["amdgcn"]) if amd else _cuda_usage(compiled.asm["cubin"])
    )
    return CompiledFacts(
        registers=registers,
        spilled_bytes=spilled,
        shared_bytes=int(compiled.metadata.shared),
        counts=counts,
    )


def _cuda_usage(cubin: bytes) -> tuple[int, int, Counts]:
    """Registers, stack bytes and instructions, from the ``cuobjdump`` that Triton's wheel carries."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = _cuobjdump("-res-usage", "-sass", file.name)
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    if found is None:
        raise RuntimeError(f"cuobjdump reported no resource usage: {said[:500]!r}")
    return int(found[1]), int(found[2]), count_sass(said)


def _cuobjdump(*arguments: str) -> str:
    from triton import knobs

    tool = str(knobs.nvidia.cuobjdump.path)
    done = subprocess.run((tool, *arguments), check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cuobjdump failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _amd_usage(assembly: str) -> tuple[int, int, Counts]:
    """Vector registers, spilled bytes and instructions, from the assembly's metadata and text."""

    def field(name: str) -> int:
        found = re.search(rf"^\s*\.{name}:\s+(\d+)", assembly, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"the assembly has no field {name}")
        return int(found[1])

    return field("vgpr_count"), 4 * field("vgpr_spill_count"), count_amdgcn(assembly)

"""Mutations: compiled kernels without the mask of a line of their source, or the limit of its indices, are noticed.

Such a mutant shows a fault, or leaves something else in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import xaimed_kernels
from tests.kernels.emulator.mutants import Captured, CaughtError, captured, noticed
from xaimed_kernels.emulator.findings import Findings
from xaimed_kernels.emulator.program import Instruction, Program
from xaimed_kernels.impute.cases import image, mask
from xaimed_kernels.impute.launch import impute_triton
from xaimed_kernels.inputs import Activations
from xaimed_kernels.principal_map import cases as principal
from xaimed_kernels.principal_map import principal_map

pytestmark = [pytest.mark.ptx, pytest.mark.usefixtures("poisoned_memory")]


def imputed() -> None:
    """Tiles reach beyond the rows and columns of grids, pairs beyond columns, and rows end next to a whole block."""
    for height, width in ((36, 25), (1025, 1)):
        keep = mask("cam, 50% kept", height, width)[None, None]
        impute_triton(image(height, width, channels=2)[None], keep, 1e-4)


def principal_maps() -> None:
    """A Gram matrix in one tile, and one that is read in rows."""
    for shape in ((1, 40, 3, 3), (1, 70, 11, 9)):
        principal_map(*principal.Case(Activations(shape)).make(), backend="triton")


NEEDLESS = {
    imputed: {"filled = tl.load(p_u, mask=m_at & (kept == 0), other=0.0)"},
    principal_maps: {"return tl.where(mask, (w * a - tl.load(p_mean, mask=mask, other=0.0)) * factor, 0.0)"},
}
"""Lines whose mask no fault shows: what it leaves out is read from the same storage, and not used."""


FOLDERS = {imputed: "impute", principal_maps: "principal_map"}


@pytest.mark.parametrize("operation", NEEDLESS, ids=lambda operation: operation.__name__)
def test_a_mask_that_is_missing_is_noticed(operation, monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 1)
    monkeypatch.setattr("xaimed_kernels.principal_map.launch.CYCLES", 1)
    folder = FOLDERS[operation]

    def has_masks(program: Program) -> bool:
        # principal_map takes its moments by gradient_maps_kernel, whose masks are its own
        return program.name != "gradient_maps_kernel" and any(without_each_mask(program, folder))

    launches = captured(operation, has_masks, monkeypatch)
    monkeypatch.setattr(Findings, "note", noticed)
    caught: defaultdict[str, bool] = defaultdict(bool)
    for launch in launches:
        before = launch.run(launch.program)
        for line, mutant in without_each_mask(launch.program, folder):
            caught[line] = caught[line] or is_noticed(launch, mutant, before)
    survivors = {line for line, noted in caught.items() if not noted}
    print(f"{operation.__name__}: {len(caught)} lines with masks, {len(survivors)} needless")
    assert len(caught) >= 5
    assert survivors == NEEDLESS[operation]


def is_noticed(launch: Captured, mutant: Program, before: bytes) -> bool:
    try:
        return launch.run(mutant) != before
    except CaughtError:
        return True


def without_each_mask(program: Program, folder: str) -> Iterator[tuple[str, Program]]:
    """By line of the source: guarded accesses unguarded, indices not limited."""
    lines: defaultdict[str, list[int]] = defaultdict(list)
    for at, instruction in enumerate(program.instructions):
        if unmasked(instruction, folder) is not None:
            lines[instruction.place].append(at)
    for place, found in lines.items():
        changed = [unmasked(i, folder) if at in found else i for at, i in enumerate(program.instructions)]
        yield source(folder, place), replace(program, instructions=tuple(changed))


def unmasked(instruction: Instruction, folder: str) -> Instruction | None:
    """The instruction without its mask; None if its line in the source has none."""
    line, opcode = source(folder, instruction.place), instruction.opcode
    if instruction.guard and opcode.startswith(("ld.global", "st.global")) and "mask=" in line:
        return replace(instruction, guard=None)
    if opcode.startswith("min.") and "tl.minimum(row" in line:
        return replace(instruction, opcode="mov.b32", operands=instruction.operands[:2])
    return None


def source(folder: str, place: str) -> str:
    """The text of a place, ``file:line``, where the file is one of the operation's."""
    name, _, line = place.rpartition(":")
    return lines_of(Path(xaimed_kernels.__file__).with_name(folder) / name)[int(line or 0)]


@cache
def lines_of(path: Path) -> defaultdict[int, str]:
    """From 1 on; none of a file that is not the operation's, such as Triton's own."""
    text = path.read_text() if path.is_file() else ""
    return defaultdict(str, enumerate(map(str.strip, text.splitlines()), start=1))

"""Mutations: compiled kernels without one of their barriers, each in turn, show a race, or the barrier was needless."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.kernels.emulator.mutants import Captured, CaughtError, captured, noticed
from xaimed_kernels.emulator.findings import Findings
from xaimed_kernels.emulator.program import Program
from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.gradient_maps.cases import THREE
from xaimed_kernels.impute.cases import image, mask
from xaimed_kernels.impute.launch import impute_triton
from xaimed_kernels.inputs import Activations
from xaimed_kernels.principal_map import cases as principal
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.rescale_maps import cases as rescale
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_kernels.weighted_map import weighted_map

pytestmark = pytest.mark.ptx

BARRIERS = ("bar.", "barrier.", "cp.async.wait_group")


def barriers(program: Program) -> set[int]:
    return {at for at, i in enumerate(program.instructions) if i.opcode.startswith(BARRIERS)}


def without_each_barrier(launch: Captured) -> Iterator[Program]:
    """Each that this launch is the first to execute: without one that it never comes to, it shows nothing."""
    program = launch.program
    for at in sorted(barriers(program) & launch.reached):
        rest = (*program.instructions[:at], *program.instructions[at + 1 :])
        labels = {label: to - (to > at) for label, to in program.labels.items()}
        yield replace(program, instructions=rest, labels=labels)


def reductions(run) -> None:
    """In one warp and in several, along and across memory, with whole tiles and with parts."""
    for shape in ((16, 130, 2, 1), (16, 70, 7, 7), (16, 5, 33, 31)):
        for layout in ("contiguous", "channels_last"):
            run(Activations(shape, layout).make(seed=1), Activations(shape, layout, "signed").make(seed=2))


def gradients() -> None:
    reductions(lambda a, g: gradient_maps(a, g, THREE, backend="triton"))


def weighted() -> None:
    reductions(lambda a, w: weighted_map(a, w, backend="triton"))
    reductions(lambda a, w: weighted_map(a, w.flatten(2)[:, :, 0].contiguous(), backend="triton"))


def principal_maps() -> None:
    for shape in ((1, 70, 11, 9), (1, 40, 3, 3)):
        principal_map(*principal.Case(Activations(shape)).make(), backend="triton")


def rescaled() -> None:
    for layers in (((7, 7),), ((7, 7), (14, 14))):
        rescale_maps(rescale.Case(layers, (40, 31)).make(), (40, 31), backend="triton")


def imputed() -> None:
    """Grids large enough for launches of their own, and small ones that one program solves."""
    keep = mask("cam, 50% kept", 33, 30)[None, None]
    impute_triton(image(33, 30, channels=1)[None], keep, 1e-4)


NEEDLESS = {gradients: 1, weighted: 0, principal_maps: 2, rescaled: 0, imputed: 0}
"""Barriers that Triton places and could leave out: README of the emulator."""


@pytest.mark.parametrize("operation", NEEDLESS, ids=lambda operation: operation.__name__)
def test_a_barrier_that_is_missing_is_noticed(operation, monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 1)
    launches = captured(operation, with_barriers(operation), monkeypatch)
    monkeypatch.setattr(Findings, "note", noticed)
    tried, survivors = 0, 0
    for launch in launches:
        before = launch.run(launch.program)
        for mutant in without_each_barrier(launch):
            tried += 1
            try:
                same = [
                    launch.run(mutant, order) == before for order in ("together", "first warp", "last warp")
                ]
            except CaughtError:
                continue
            survivors += 1
            assert all(same), f"a race in {mutant.name} that only its result shows"
    print(f"{operation.__name__}: {tried} barriers, {survivors} needless")
    assert tried >= 5
    programs = {launch.program.instructions: launch.program for launch in launches}.values()
    assert tried == sum(len(barriers(program)) for program in programs)
    assert survivors <= NEEDLESS[operation]


def with_barriers(operation):
    # principal_map takes its moments by gradient_maps_kernel, here in a single turn of its loop
    def wanted(program: Program) -> bool:
        own = operation is gradients or program.name != "gradient_maps_kernel"
        return own and bool(barriers(program))

    return wanted


@pytest.mark.parametrize("operation", NEEDLESS, ids=lambda operation: operation.__name__)
def test_results_do_not_depend_on_the_order_of_warps(operation, monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 1)
    for launch in captured(operation, with_barriers(operation), monkeypatch):
        assert launch.run(launch.program, "last warp") == launch.run(launch.program), launch.program.name

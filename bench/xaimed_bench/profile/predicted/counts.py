"""Compiled kernels emulated on the CPU, one case at a time: what is wrong with them, and what they do, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import final

from xaimed_bench.progress import Steps
from xaimed_kernels.emulator import Counts, Device, Finding, Launch, emulating
from xaimed_kernels.operations import OPERATIONS, Case, Operation, images_in, moved_bytes

H100 = 132
"""Multiprocessors of the GPU that a bench case would fill."""


@final
@dataclass(frozen=True)
class Emulated:
    """One case. ``error``: over the largest value of the float64 definition; ``moved_bytes``: that it must move.

    ``values``: of the largest tensor that goes in or out, the unit in which a kernel's work is given.
    """

    launches: tuple[Launch, ...]
    findings: tuple[Finding, ...]
    variants: int
    error: float
    values: int
    moved_bytes: int

    def by_kernel(self) -> dict[str, Counts]:
        found: dict[str, Counts] = {}
        for launch in self.launches:
            if launch.counts is not None:
                found.setdefault(launch.kernel, Counts()).add(launch.counts)
        return found

    def figures(self) -> dict[str, dict[str, int]]:
        """What is gated: by kernel, and for the call as a whole."""
        rows = {kernel: _figures(counts) for kernel, counts in self.by_kernel().items()}
        for kernel, row in rows.items():
            row["launches"] = sum(launch.kernel == kernel for launch in self.launches)
            row["blocks"] = sum(launch.blocks for launch in self.launches if launch.kernel == kernel)
        call = {"launches": len(self.launches), "variants": self.variants}
        rows["call"] = call | {"values": self.values, "moved_bytes": self.moved_bytes}
        return rows


def emulate(operation: Operation, case: Case, device: Device, *, checked: bool) -> Emulated:
    """Run a case as PTX and compare it with the definition. ``checked``: look for races, which takes longer."""
    inputs = case.make()
    with emulating(device, checked=checked, counted=True) as emulation:
        found = operation.run(case, "triton", *inputs)
    wide = (value.double() if value is not None and value.is_floating_point() else value for value in inputs)
    expected = operation.run(case, "reference", *wide)
    finite = expected.isfinite()
    largest = expected[finite].abs().max().item() if finite.any() else 0.0
    apart = (found.double() - expected)[finite].abs().max().item() if finite.any() else 0.0
    if not bool((found.isfinite() == finite).all()):
        apart = float("inf")
    return Emulated(
        tuple(emulation.launches),
        emulation.findings,
        len(emulation.variants),
        apart / largest if largest else apart,
        max(tensor.numel() for tensor in (*inputs, found) if tensor is not None),
        moved_bytes(*inputs, found),
    )


def one_image(case: Case) -> tuple[Case, Device]:
    """A bench case's first image, on its share of an H100's multiprocessors: sums are split as in the whole batch."""
    return case.at_most(1), Device(multiprocessors=max(1, round(H100 / images_in(case))))


def counted_cases(only: str | None = None) -> dict[str, tuple[Operation, Case]]:
    """Every bench case by name. ``only``: those whose name holds this."""
    named = {f"{op.name} {case}": (op, case) for op in OPERATIONS for case in op.bench_cases}
    return {name: pair for name, pair in named.items() if only is None or only in name}


def count_all(
    wanted: Mapping[str, tuple[Operation, Case]],
) -> dict[str, dict[str, dict[str, int]]]:
    """Figures of each case's first image, by kernel."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    with Steps("case", len(wanted), short=True) as steps:
        for name, (operation, case) in wanted.items():
            steps.begin(name)
            one, device = one_image(case)
            found[name] = emulate(operation, one, device, checked=False).figures()
    return found


def triton_name() -> str:
    """Triton, for whose version alone counts hold."""
    return f"triton {version('triton')}"


def _figures(counts: Counts) -> dict[str, int]:
    return {name: number for name, number in vars(counts).items() if isinstance(number, int)}

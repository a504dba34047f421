"""Run compiled kernels on the CPU, instruction by instruction: faults found, work counted; no GPU needed.

  xaimed kernels                                   the cases that can be run, by name
  xaimed kernels "weighted_map 2x37x7x7-n-c"       this case: error, faults, counts; 1 where there is a fault
  xaimed kernels NAME --multiprocessors 132        as a GPU of so many would run it
  xaimed kernels --counts                          bench cases counted and compared with what is accepted; 1 if moved
  xaimed kernels --counts --accept                 take the present counts as the accepted ones

Counts go to reports/results/counts.json in a checkout, else to ./xaimed-results/; `--counts` takes about 10 minutes.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.given import count, folder_to_write, words
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    from xaimed_bench.profile.predicted.counts import Emulated

TOLERATED = 1e-5
"""Of the largest value, or what the case itself tolerates: kernels err less, see tests/kernels/agreement.py."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A case, or the gate."""
    parser.add_argument(
        "case", nargs="?", type=words, metavar="NAME", help="an operation and one of its cases"
    )
    parser.add_argument(
        "--multiprocessors", type=count(1), metavar="N", help="of the GPU that is emulated (2 where left out)"
    )
    parser.add_argument("--counts", action="store_true", help="count the bench cases and compare")
    parser.add_argument("--accept", action="store_true", help="with --counts: accept the present counts")
    parser.add_argument(
        "--only", type=words, metavar="TEXT", help="with --counts: cases whose name holds this"
    )
    parser.add_argument(
        "--out", type=folder_to_write, metavar="DIR", help="with --counts: where counts.json is"
    )


def run(given: argparse.Namespace) -> int:
    """Emulate and print. 1 where a fault was found, a result is wrong or a count moved."""
    if given.counts and (given.case or given.multiprocessors):
        raise UnusableError("--counts takes all bench cases on an H100; leave NAME and --multiprocessors out")
    if not given.counts and (given.accept or given.only or given.out):
        raise UnusableError("--accept, --only and --out belong to --counts")
    if find_spec("triton") is None:
        raise UnusableError(
            "kernels are compiled by Triton, which is not installed; it exists for Linux only"
        )
    if given.counts:
        checkout = Path("reports/xaimed_reports").is_dir()
        folder = given.out or Path("reports/results" if checkout else "xaimed-results")
        return _gate(folder / "counts.json", accept=given.accept, only=given.only)
    return _one(given.case, given.multiprocessors or 2) if given.case else _list()


def _list() -> int:
    from xaimed_kernels.operations import OPERATIONS

    for operation in OPERATIONS:
        for case in operation.cases:
            say(f'"{operation.name} {case}"')
    return 0


def _one(name: str, multiprocessors: int) -> int:
    from xaimed_bench.profile.predicted.counts import emulate
    from xaimed_kernels.emulator import Device
    from xaimed_kernels.operations import OPERATIONS

    cases = {
        f"{operation.name} {case}": (operation, case) for operation in OPERATIONS for case in operation.cases
    }
    if name not in cases:
        raise UnusableError(f"no case {name!r}; xaimed kernels lists them")
    operation, case = cases[name]
    found = emulate(operation, case, Device(multiprocessors=multiprocessors), checked=True)
    say("\n".join(_lines(found)))
    return 1 if found.findings or not found.error <= max(TOLERATED, getattr(case, "tol", 0.0)) else 0


def _lines(found: Emulated) -> list[str]:
    lines = [f"error {found.error:.1e} of the largest value; {found.variants} compiled variants"]
    lines += [f"FAULT {finding}" for finding in found.findings] or ["no fault"]
    for kernel, counts in found.by_kernel().items():
        sectors = counts.loaded_sectors + counts.stored_sectors
        asked = counts.loaded_bytes + counts.stored_bytes
        lines.append(
            f"{kernel}: {32 * counts.warp_instructions / found.values:.1f} thread-instructions a value, "
            f"{32 * sectors / max(asked, 1):.2f} bytes moved for one asked for, "
            f"{32 * counts.touched_sectors / found.moved_bytes:.2f} touched for one that must move, "
            f"{counts.shared_cycles / max(counts.shared_accesses, 1):.2f} cycles a shared access"
        )
    return lines


def _gate(path: Path, *, accept: bool, only: str | None) -> int:
    from xaimed_bench.profile.gate import Gate, run_gate
    from xaimed_bench.profile.predicted.counts import count_all, counted_cases, triton_name

    gate = Gate(triton_name(), "cases", "counts", counted_cases, count_all)
    return run_gate(gate, path, accept=accept, only=only)

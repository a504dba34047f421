"""The runs of a trial of the gate, each a fresh process whose results are kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from xaimed_bench.measure.checkout import revision
from xaimed_bench.progress import Steps
from xaimed_bench.running.alternate import gate_process, signals_raise
from xaimed_reports.store.jsonform import UnreadableError
from xaimed_reports.store.load import load
from xaimed_reports.store.records import OURS
from xaimed_reports.store.rows import Run
from xaimed_reports.store.writing import alone_in
from xaimed_reports.trial.records import Planned


def make_runs(
    folder: Path, checkout: Path, plan: Sequence[Planned], at_most: int | None
) -> dict[Planned, Run]:
    """Make the missing runs, ``at_most`` so many; all finished ones are returned. Each is kept as it finishes.

    Raises UnreadableError where those that are there measured another commit.
    """
    folder, here = folder.absolute(), revision(checkout)
    if at_most == 0:  # nothing is written, also where nothing may be
        return _finished(folder, plan, here)
    with alone_in(folder):
        return _made(folder, checkout, plan, _finished(folder, plan, here), at_most)


def _finished(folder: Path, plan: Sequence[Planned], here: str | None) -> dict[Planned, Run]:
    """Those that are there. Raises UnreadableError where one cannot be read or is of another commit."""
    found: dict[Planned, Run] = {}
    for p in plan:
        if not (path := folder / f"{p.name}.json").exists():
            continue
        try:
            found[p] = load(path)
        except UnreadableError as error:
            raise UnreadableError(f"{error}; remove it from {folder}, and that run is made again") from error
    for p, run in found.items():
        if run.revision != here:
            raise UnreadableError(
                f"{p.name}.json measured revision {run.revision}, the checkout is at {here}; choose another --out"
            )
    return found


def _made(
    folder: Path, checkout: Path, plan: Sequence[Planned], found: dict[Planned, Run], at_most: int | None
) -> dict[Planned, Run]:
    missing = [p for p in plan if p not in found][:at_most]
    with signals_raise(), Steps("run", len(missing)) as steps:
        for p in missing:
            steps.begin(p.name)
            keys = [row.case.key for r in [*found.values()][:1] for row in r.rows if row.impl == OURS]
            extra = [f"--extra-work={key}={share}" for key, share in p.extra_work(keys).items()]
            passing = folder / f"unfinished-{p.name}.json"
            with _busy_core() if p.kind == "loaded" else nullcontext():
                found[p] = gate_process(checkout, passing, f"--shuffle={plan.index(p)}", *extra, name=p.name)
            passing.rename(folder / f"{p.name}.json")
            for beside in folder.glob(f"{passing.stem}.*"):  # its journal and pictures
                beside.unlink()
    return {p: found[p] for p in plan if p in found}


@contextmanager
def _busy_core() -> Generator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()

"""The runs of a trial of the gate, each a fresh process whose results are kept."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import final

from xaimed_bench.measure.alternate import gate_process, signals_raise
from xaimed_bench.measure.session import revision
from xaimed_reports.compare.floor import Floor, floor_of
from xaimed_reports.store.jsonform import UnreadableError
from xaimed_reports.store.load import load
from xaimed_reports.store.records import OURS, Run
from xaimed_reports.trial.trial import is_disturbed
from xaimed_reports.trial.trial_plan import FLOOR_RUNS, Planned

MOST_DISTURBED = 3
"""So often a run is made again because something disturbed it; then it is taken as it is."""


@final
class TrialRuns:
    """A folder of gate runs of one commit. ``checkout``: where the code lies, at the commit to judge."""

    def __init__(self, folder: Path, checkout: Path, plan: Sequence[Planned]) -> None:
        self._folder = folder.absolute()
        self._checkout = checkout
        self._plan = plan
        self.disturbed = len(list(self._folder.glob("disturbed-*.json")))

    def finished(self) -> dict[Planned, Run]:
        """The runs that are there, in the order of the plan. Raises UnreadableError when they are of another commit."""
        stored = {p: self._path(p) for p in self._plan}
        found = {p: load(path) for p, path in stored.items() if path.exists()}
        here = revision(self._checkout)
        for p, run in found.items():
            if run.revision != here:
                raise UnreadableError(
                    f"{p.name}.json measured revision {run.revision}, the checkout is at {here}; choose another --out"
                )
        return found

    def make(self, at_most: int | None) -> dict[Planned, Run]:
        """Make the missing runs, ``at_most`` so many; all finished ones are returned. Each is kept as it finishes."""
        found = self.finished()
        floor = _floor(found)
        missing = [p for p in self._plan if p not in found][:at_most]
        began = time.perf_counter()
        with signals_raise():
            for i, p in enumerate(missing):
                each_s = (time.perf_counter() - began) / max(1, i)
                left = f", about {each_s * (len(missing) - i) / 60:.0f} min left" if i else ""
                print(f"run {len(found) + 1} of {len(self._plan)}: {p.name}{left}", flush=True)
                keys = [row.case.key for r in [*found.values()][:1] for row in r.rows if row.impl == OURS]
                found[p] = self._make(p, keys, floor)
                floor = floor or _floor(found)
        return {p: found[p] for p in self._plan if p in found}

    def _make(self, p: Planned, keys: Sequence[str], floor: Floor | None) -> Run:
        """One run. What something disturbed is set aside and made again, `MOST_DISTURBED` times."""
        path = self._path(p)
        passing = path.with_name(f"unfinished-{path.name}")
        extra = [f"--extra-work={key}={share}" for key, share in p.extra_work(keys).items()]
        seed = str(self._plan.index(p))
        set_aside = len(list(self._folder.glob(f"disturbed-*-{p.name}.json")))
        while True:
            with _busy_core() if p.kind == "loaded" else _nothing():
                run = gate_process(self._checkout, passing, "--shuffle", seed, *extra, name=p.name)
            if p.kind == "loaded" or set_aside >= MOST_DISTURBED or not is_disturbed(run, floor):
                break
            set_aside += 1
            self.disturbed += 1
            passing.rename(self._folder / f"disturbed-{set_aside}-{p.name}.json")
            print(f"  something disturbed most rows: set aside, {p.name} is made again", flush=True)
        passing.rename(path)
        for beside in self._folder.glob(f"{passing.stem}.*"):  # its journal and pictures
            beside.unlink()
        return run

    def _path(self, p: Planned) -> Path:
        return self._folder / f"{p.name}.json"


def _floor(found: Mapping[Planned, Run]) -> Floor | None:
    """What the machine is like, once the runs that fix it are there."""
    first = [run for p, run in found.items() if p.kind == "alike" and p.index < FLOOR_RUNS]
    return floor_of(first) if len(first) == FLOOR_RUNS else None


@contextmanager
def _busy_core() -> Generator[None]:
    """A process that keeps one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _nothing() -> Generator[None]:
    yield

"""Kill -9 at random moments of `xaimed history add`: is a run lost that was said to be kept, or there twice?

  python -m tests.reports.history.kill_at_random --kills 50

A child adds runs, a line for each, and is killed; the next one adds all of them again. Prints what was found as JSON.
"""

import contextlib
import json
import os
from collections import Counter
from pathlib import Path

from tests.killing import Killer, forked, main
from xaimed_bench.cli import main as xaimed
from xaimed_reports.history.store import faults, read
from xaimed_reports.store.jsonform import UnreadableError

GOLDEN = Path(__file__).parents[1] / "golden/schema-3.json"
RUNS = 12


def make_runs(folder: Path) -> list[str]:
    """Stored runs that differ in their times."""
    made = []
    for i in range(RUNS):
        run = json.loads(GOLDEN.read_text())
        run["xaimed"]["revision"] = f"{i:012x}"
        for benchmark in run["benchmarks"]:
            timing = benchmark["extra_info"]["xaimed"]["timing"]
            timing["wall_s"] = [wall_s * (1 + i / 100) for wall_s in timing["wall_s"]]
        made.append(folder / f"run-{i}.json")
        made[-1].write_text(json.dumps(run))
    return [str(path) for path in made]


def add(runs: list[str], file: Path, said: Path) -> None:
    """Add all runs to the history ``file``, and write what it says of them to ``said``."""
    with said.open("w", buffering=1) as out, contextlib.redirect_stdout(out):
        xaimed(["history", "add", *runs, "--file", str(file)])


def kept(file: Path) -> list[str]:
    """The revisions in a history, as they were added; [] before there is one, though its file may be there."""
    try:
        return [stored.entry.revision for stored in read(file)]
    except UnreadableError as error:
        if "xaimed history add" in str(error):
            return []
        raise


def kill(kills: int, seed: int, folder: Path) -> Counter[str]:
    """Kill so many children, one after the other; whenever all runs are there, begin with a new history."""
    runs, said = make_runs(folder), folder / "said"
    killer = Killer(seed, lambda: add(runs, folder / "undisturbed.sqlite", said))
    tally = killer.tally
    whole = kept(folder / "undisturbed.sqlite")
    file = folder / "0.sqlite"
    while tally["kills"] < kills:
        before = kept(file)
        said.write_text("")  # whoever is killed at once says nothing, and not what the one before said
        killer.kill(lambda file=file: add(runs, file, said))
        now, lines = kept(file), said.read_text().count("\n")
        tally["lost"] += len(set(before) - set(now)) + max(0, lines - len(now))
        tally["twice"] += len(now) - len(set(now))
        tally["damaged"] += len(faults(file)) if now else 0
        if len(now) == RUNS:
            tally["whole"] += 1
            file = folder / f"{tally['whole']}.sqlite"
    os.waitpid(forked(lambda: add(runs, file, said)), 0)
    tally["missing"] = len(set(whole) - set(kept(file))) + RUNS - len(whole)
    return tally


if __name__ == "__main__":
    main(__doc__, kill)

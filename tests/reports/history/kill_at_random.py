"""Kill -9 at random moments of `xaimed history add`: is a run lost that was said to be kept, or there twice?

  python -m tests.reports.history.kill_at_random --kills 50

A child adds runs, a line for each, and is killed; the next one adds all of them again. Prints what was found as JSON.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

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


def forked(runs: list[str], file: Path, said: Path) -> int:
    """A child that adds all runs to the history ``file``, and writes what it says of them to ``said``."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with said.open("w", buffering=1) as out, contextlib.redirect_stdout(out):
                code = xaimed(["history", "add", *runs, "--file", str(file)])
        finally:
            os._exit(code)
    return child


def kept(file: Path) -> list[str]:
    """The revisions in a history, as they were added; [] before there is one, though its file may be there."""
    try:
        return [stored.entry.revision for stored in read(file)]
    except UnreadableError as error:
        if "xaimed history add" in str(error):
            return []
        raise


def kill(kills: int, seed: int, folder: Path) -> dict[str, int]:
    """Kill so many children, one after the other; whenever all runs are there, begin with a new history."""
    chance, tally = random.Random(seed), Counter[str]()
    runs, said = make_runs(folder), folder / "said"
    began_s = time.monotonic()
    os.waitpid(forked(runs, folder / "undisturbed.sqlite", said), 0)
    longest_s = time.monotonic() - began_s
    whole = kept(folder / "undisturbed.sqlite")
    file = folder / "0.sqlite"
    while tally["kills"] < kills:
        before = kept(file)
        said.write_text(
            ""
        )  # a child that is killed at once says nothing, and not what the one before it said
        child = forked(runs, file, said)
        time.sleep(chance.uniform(0, longest_s))
        os.kill(child, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            tally["kills"] += 1
        now, lines = kept(file), said.read_text().count("\n")
        tally["lost"] += len(set(before) - set(now)) + max(0, lines - len(now))
        tally["twice"] += len(now) - len(set(now))
        tally["damaged"] += len(faults(file)) if now else 0
        if len(now) == RUNS:
            tally["whole"] += 1
            file = folder / f"{tally['whole']}.sqlite"
    os.waitpid(forked(runs, file, said), 0)
    tally["missing"] = len(set(whole) - set(kept(file))) + RUNS - len(whole)
    return dict(tally)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(kill(given.kills, given.seed, Path(folder))))


if __name__ == "__main__":
    main()

"""Kill -9 at random moments of a bench: is anything finished lost, or there twice?

  python -m tests.bench.measure.kill_at_random --kills 50

A child measures cases that take no time, and is killed; the next one resumes. Prints what was found as JSON.
"""

from collections import Counter
from contextlib import closing
from pathlib import Path

import torch

from tests.killing import Killer, main
from xaimed_bench.measure import Plan
from xaimed_bench.measure.case import Question
from xaimed_bench.measure.session import Session, what_finished
from xaimed_reports.store.journal import Journal
from xaimed_reports.store.load import load
from xaimed_reports.store.records import Case, Machine
from xaimed_reports.store.rows import Run

PLAN = Plan(budget_s=0.0, min_blocks=1, max_blocks=1, relative_error=0.0, warm_up_s=0.0)
HEAD = Run(Machine("x", "x", 1, None, 1, {}), "gate", "phantoms", None, "", 0.0, ())
CASES = [str(x) for x in range(6)]


def measure(path: Path) -> None:
    """Measure every case that the journal does not hold."""
    maps = torch.linspace(0, 1, 64).reshape(1, 8, 8)
    with closing(Journal(path)) as journal:
        found = what_finished(path, HEAD)
        session = Session(
            HEAD, PLAN, torch.device("cpu"), expected=len(CASES), journal=journal, recovered=found
        )
        for x in CASES:
            arms = {"ours": maps.clone, "reference": maps.clone}
            session.rows(Question(Case("toy", {"x": x}, 1), arms, {}, allowed=1e-4))


def kill(kills: int, seed: int, folder: Path) -> Counter[str]:
    """Kill so many children, one after the other; whenever all cases are there, begin with a new journal."""
    torch.set_num_threads(1)
    killer = Killer(seed, lambda: measure(folder / "undisturbed.journal.jsonl"))
    tally = killer.tally
    path, before = folder / "0.journal.jsonl", {}
    while tally["kills"] < kills:
        killer.kill(lambda path=path: measure(path))
        if not path.exists() or not path.stat().st_size:
            continue
        rows = load(path).rows
        keys = Counter((row.case.key, row.impl) for row in rows)
        now = {(row.case.key, row.impl): row for row in rows}
        tally["lost"] += sum(now.get(key) != row for key, row in before.items())
        tally["twice"] += sum(count - 1 for count in keys.values())
        tally["half"] += sum(count != 2 for count in Counter(key for key, _ in keys).values())
        before = now
        if len({row.case.key for row in rows}) == len(CASES):
            tally["whole"] += 1
            path, before = folder / f"{tally['whole']}.journal.jsonl", {}
    measure(path)
    last = {(row.case.key, row.impl): row for row in load(path).rows}
    tally["lost"] += sum(last.get(key) != row for key, row in before.items())
    tally["missing"] = 2 * len(CASES) - len(last)
    tally["failed"] = sum(row.status == "failed" for row in last.values())
    return tally


if __name__ == "__main__":
    main(__doc__, kill)

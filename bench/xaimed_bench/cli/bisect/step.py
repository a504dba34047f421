"""One step of `git bisect run`: is the commit that git asks about good or bad, or can it not be judged?

  python -m xaimed_bench.cli.bisect.step FOLDER PARENT

Every error ends the search instead of being taken for a bad commit.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from xaimed_bench.cli.bisect.search import STOP, attempt, load
from xaimed_bench.measure.checkout import git
from xaimed_reports.store.jsonform import UnusableError


def step(folder: Path, parent: int) -> int:
    """The exit code for git. ``parent``: the process that searches; where it was killed, the search stops."""
    try:
        os.kill(parent, 0)
    except ProcessLookupError:
        return STOP
    tree = Path.cwd()
    search, tried = attempt(tree, folder, load(folder), git(tree, "rev-parse", "BISECT_HEAD"))
    print(f"{tried.commit[:12]} {tried.verdict}: {tried.why} ({tried.subject})", file=sys.stderr)
    return search.answer(tried)


if __name__ == "__main__":
    try:
        sys.exit(step(Path(sys.argv[1]), int(sys.argv[2])))
    except (UnusableError, OSError) as error:
        print(f"xaimed bisect: {error}", file=sys.stderr)
    except Exception:
        traceback.print_exc()
    sys.exit(STOP)

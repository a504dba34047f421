"""Name the commit that made a row worse, by git bisect.

  xaimed bisect GOOD BAD --only KEY      which commit after GOOD, up to BAD, is the first with this row slower?
  xaimed bisect --resume                 go on after Ctrl-C, a crash or a kill
  xaimed bisect --abort                  forget what was cut short, and remove its work trees

GOOD and BAD are compared first, as `xaimed compare --base` does, in alternating fresh processes: they must differ
here. Then `git bisect run` asks about commits, and each is compared with GOOD in the same way. What is `unknown` or
cannot be measured is skipped. All of it happens in work trees of its own; your checkout is not touched. KEY is the
name of one row, as `xaimed history check` and `xaimed compare` print it. --bench names the file that measures it, or
the command: --bench "xaimed bench --model mine:build".

Exit codes: 0 the commit is named; 2 input that cannot be used, or ends that do not differ here; 3 inconclusive: the
ends, or the commits that remain, could not be judged. The evidence stays in found.json and runs/ of --keep.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.compare import FEWEST_RUNS, FLOOR_FILE, add_bench, add_processes, need_floor
from xaimed_bench.cli.given import file_to_write, words
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.writing import alone_in

if TYPE_CHECKING:
    from xaimed_bench.cli.bisect.search import Search

KEEP = Path("xaimed-results/bisect")
BENCH = "bench/bench_cam.py"
INCONCLUSIVE = 3
ASKED = "xaimed: good or bad?"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The ends, the row, and where results are kept."""
    parser.add_argument("good", nargs="?", type=words, metavar="GOOD", help="a commit before it happened")
    parser.add_argument("bad", nargs="?", type=words, metavar="BAD", help="a commit after it happened")
    parser.add_argument("--only", type=words, metavar="KEY", help="the row, e.g. 'explaining[xgradcam-...]'")
    add_bench(parser)
    add_processes(parser, KEEP)
    parser.add_argument("--resume", action="store_true", help="go on with the search that was cut short")
    parser.add_argument("--abort", action="store_true", help="forget the search that was cut short")
    parser.add_argument(
        "--floor-file", type=file_to_write, metavar="FILE", help=f"this machine's floor ({FLOOR_FILE})"
    )


def run(given: argparse.Namespace) -> int:
    """Search, print the commit and the evidence. Returns the exit code."""
    from xaimed_bench.cli.bisect.search import begun, load, with_scratch

    _need_one_question(given)
    checkout, folder = Path.cwd(), given.keep.absolute()
    if given.resume or given.abort:
        search = load(folder)
    else:
        settings = {"key": given.only, "bench": given.bench or BENCH, "runs": given.runs or FEWEST_RUNS}
        if given.floor_file is not None:
            need_floor(given.floor_file)
        floor_file = str((given.floor_file or FLOOR_FILE).absolute())
        search = begun(checkout, given.good, given.bad, floor_file=floor_file, **settings)
        if (folder / "search.json").exists():
            raise UnusableError(
                f"a search was cut short in {given.keep}: go on with --resume, forget it with --abort"
            )
    with alone_in(folder):
        _remove_trees(checkout, search)
        if not given.resume:
            shutil.rmtree(folder / "runs", ignore_errors=True)
        if given.abort:
            (folder / "search.json").unlink()
            return 0
        search = with_scratch(search, folder)
        try:
            return _search(checkout, folder, search)
        finally:
            _remove_trees(checkout, search)


def _need_one_question(given: argparse.Namespace) -> None:
    """Raise UnusableError unless one thing is asked, with all that it needs and no more."""
    new = {"GOOD": given.good, "BAD": given.bad, "--only": given.only}
    if given.resume or given.abort:
        more = {**new, "--bench": given.bench, "--runs": given.runs, "--floor-file": given.floor_file}
        more["--abort"] = given.resume and given.abort
        option = "--resume" if given.resume else "--abort"
        for name, value in more.items():
            if value:
                raise UnusableError(
                    f"{name} has no meaning for {option}, which knows the search; leave it out"
                )
    elif missing := [name for name, value in new.items() if value is None]:
        raise UnusableError(f"{missing[0]} is missing; type: xaimed bisect GOOD BAD --only KEY")


def _search(checkout: Path, folder: Path, search: Search) -> int:
    """Compare the ends, let git ask, show what was found."""
    from xaimed_bench.cli.bisect.search import end, load
    from xaimed_bench.running.alternate import signals_raise

    with signals_raise():
        search = _need_different_ends(checkout, folder, search)
        found = _ask(checkout, folder, search) if search.looks_for else ()
        search = end(replace(load(folder), suspects=found), folder)
    _show(checkout, search)
    return 0 if len(found) == 1 else INCONCLUSIVE


def _need_different_ends(checkout: Path, folder: Path, search: Search) -> Search:
    """The search, which looks for something where the ends could be judged. Raises UnusableError for ends alike."""
    from xaimed_bench.cli.bisect.search import attempt, save
    from xaimed_reports.compare.compare import DECIDED, FAILING

    if search.looks_for is not None:
        return search
    try:
        search, last = attempt(checkout, folder, search, search.bad)
        if last.verdict in FAILING:
            return save(replace(search, looks_for=last.verdict), folder)
        if last.verdict in DECIDED:
            raise UnusableError(f"{search.key} is not worse here at the bad end ({last.verdict}): {last.why}")
    except UnusableError:
        (folder / "search.json").unlink()
        raise
    return search


def _ask(checkout: Path, folder: Path, search: Search) -> tuple[str, ...]:
    """Run `git bisect run` to its end: the commit found, or those that remain."""
    from xaimed_bench.cli.bisect.search import STOP, attempt
    from xaimed_bench.measure.checkout import git, outside_hooks

    tree = Path(search.scratch) / "git"
    git(checkout, "worktree", "add", "--no-checkout", "--detach", str(tree), search.bad)
    git(tree, "bisect", "start", "--no-checkout", search.bad, search.good)
    if found := _named(tree):
        return found
    # each step asks this process; where that has ended there is no answer, and git stops
    step = f"echo '{ASKED}'; read -r answer && exit $answer; exit {STOP}"
    command = ["git", "bisect", "run", "sh", "-c", step]
    with subprocess.Popen(
        command, cwd=tree, env=outside_hooks(), bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", errors="replace",
    ) as asking:  # fmt: skip
        assert asking.stdin is not None
        assert asking.stdout is not None
        try:
            for line in asking.stdout:
                if line.strip() == ASKED:
                    commit = git(tree, "rev-parse", "BISECT_HEAD")
                    search, tried = attempt(checkout, folder, search, commit)
                    say(f"{commit[:12]} {tried.verdict}: {tried.why} ({tried.subject})", sys.stderr)
                    asking.stdin.write(f"{search.answer(tried)}\n")
        finally:
            asking.stdin.close()
    if not (found := _named(tree)):
        raise UnusableError("git stopped the search; go on with: xaimed bisect --resume")
    return found


def _named(tree: Path) -> tuple[str, ...]:
    """The commits that git's log ends with."""
    from xaimed_bench.measure.checkout import git

    log = git(tree, "bisect", "log")
    return tuple(re.findall(r"^# (?:possible )?first bad commit: \[(\w+)\]", log, re.MULTILINE))


def _show(checkout: Path, search: Search) -> None:
    """The evidence as a table, then what it comes to."""
    from xaimed_bench.measure.checkout import git
    from xaimed_reports.show.terminal import console, plain, print_grid

    columns = ("commit", "subject", "time / good [95 %]", "why", "verdict")
    rows = [
        (
            each.commit[:12],
            each.subject,
            "-" if each.ratio is None else f"{each.ratio:.3f} [{each.low:.3f}, {each.high:.3f}]",
            each.why,
            each.verdict,
        )
        for each in search.tried
    ]
    out = console()
    print_grid(out, f"{search.key} beside {search.good[:12]}", columns, rows, left=columns)
    names = [git(checkout, "log", "-1", "--format=%h %s (%an, %as)", commit) for commit in search.suspects]
    match names:
        case []:
            said = (
                "Inconclusive: the ends could not be judged; measure on a quiet machine, or with more --runs"
            )
        case [name]:
            said = f"{search.looks_for} since {name}"
        case _:
            said = f"Inconclusive: {search.looks_for} since one of these, the others could not be judged:\n"
            said += "\n".join(names)
    out.print(plain(said), soft_wrap=True)


def _remove_trees(checkout: Path, search: Search) -> None:
    """Remove the work trees of a search, also those that a kill left."""
    from xaimed_bench.measure.checkout import git

    if Path(search.scratch).name.startswith("xaimed-bisect-"):
        shutil.rmtree(search.scratch, ignore_errors=True)
        git(checkout, "worktree", "prune")

"""Judge new results against old ones.

  xaimed compare old.json new.json        two stored runs, row by row
  xaimed compare a/profile.json b/profile.json       two devices, side by side
  xaimed compare --base main              this checkout against a revision, in alternating fresh processes
  xaimed compare --base main --bench "xaimed bench --model mine:build"     a model of your own, as each builds it
  xaimed compare --floor                  this checkout against itself: how much the machine alone varies

Exit codes: 0 rows were judged, and nothing speaks against the change; 1 a row is slower, larger, gone, wrong or
failed, or became too noisy to judge on a quiet machine; 2 input that cannot be used, files without a row in common
among it; 3 inconclusive: something disturbed the machine, or no row, or fewer than --require-judged asks, was judged.
The last line counts what was judged.
What each verdict rests on: docs/reading-verdicts.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from xaimed_bench.cli.bench import bench_to_run
from xaimed_bench.cli.given import (
    STDOUT,
    count,
    file_to_write,
    folder_to_write,
    keep_apart,
    share,
    words,
    write,
)
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnreadableError, UnusableError, read_object
from xaimed_reports.store.writing import alone_in, write_whole

if TYPE_CHECKING:
    from xaimed_bench.running.alternate import Alternation
    from xaimed_reports.compare.compare import Comparison
    from xaimed_reports.compare.verdicts import Verdict
    from xaimed_reports.store.rows import Run

FLOOR_FILE = Path("xaimed-results/floor.json")
KEEP = Path("xaimed-results/compare")
FEWEST_RUNS = 6
"""Below so many processes a side no interval is worth its name."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files or revisions, what to fail on, and where to write."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="two stored runs: old, new")
    parser.add_argument("--base", type=words, metavar="REV", help="revision to compare this checkout with")
    parser.add_argument("--floor", action="store_true", help="measure this checkout against itself")
    parser.add_argument("--only", type=words, metavar="WORDS", help="measure only rows so named (pytest -k)")
    parser.add_argument("--confirm", action="store_true", help="run slower rows again; both runs must agree")
    add_bench(parser)
    add_processes(parser, KEEP)
    parser.add_argument(
        "--resume", action="store_true", help="take what --keep already holds of the same commits"
    )
    parser.add_argument(
        "--floor-file",
        type=file_to_write,
        default=str(FLOOR_FILE),
        metavar="FILE",
        help="this machine's floor (%(default)s)",
    )
    parser.add_argument(
        "--fail-on", type=_verdicts, metavar="VERDICTS", help="what exits 1, e.g. slower,wrong,gone"
    )
    parser.add_argument("--require-judged", type=share, metavar="PERCENT",
                        help="exit 3 where fewer of the base's rows were judged, e.g. 80%%")  # fmt: skip
    parser.add_argument(
        "--markdown", type=file_to_write, metavar="FILE", help="write the comment of a pull request"
    )
    parser.add_argument(
        "--export", type=file_to_write, metavar="FILE", help="write the new rows for github-action-benchmark"
    )


def add_bench(parser: argparse.ArgumentParser) -> None:
    """What measures a side."""
    parser.add_argument("--bench", type=bench_to_run, metavar="FILE",
                        help="what measures: a bench, or 'xaimed bench --model ...' (bench/bench_cam.py)")  # fmt: skip


def add_processes(parser: argparse.ArgumentParser, keep: Path) -> None:
    """How many processes measure a side, and where their results go."""
    parser.add_argument("--runs", type=count(FEWEST_RUNS),
                        help=f"processes a side, {FEWEST_RUNS} at least (default {FEWEST_RUNS})")  # fmt: skip
    parser.add_argument("--keep", type=folder_to_write, default=str(keep), metavar="DIR",
                        help="where results are kept (%(default)s)")  # fmt: skip


def need_floor(file: Path) -> None:
    """Raise UnusableError where there is no such file."""
    if not file.exists():
        raise UnusableError(f"{file}: no such file; measure one with: xaimed compare --floor")


def run(given: argparse.Namespace) -> int:
    """Compare, print, write. Returns the exit code."""
    _need_one_question(given)
    if given.floor_file != FLOOR_FILE and not given.floor:
        need_floor(given.floor_file)
    keep_apart([*given.files, given.floor_file], [given.markdown, given.export])
    if not given.files:
        return _measure(given)
    from xaimed_reports.store.kinds import file_kind
    from xaimed_reports.store.load import load

    if {file_kind(file) for file in given.files} == {"card"}:
        return _cards(given)
    base, new = ([load(file)] for file in given.files)
    found = _compare(given, base, new)
    _show(given, found, base, new)
    return found.exit_code


def _cards(given: argparse.Namespace) -> int:
    """Two profile cards side by side: nothing is judged, so that nothing fails."""
    from rich.markdown import Markdown

    from xaimed_reports.profile.beside import beside
    from xaimed_reports.profile.card import load_card
    from xaimed_reports.show.terminal import console

    for name in ("export", "fail_on", "require_judged"):
        if getattr(given, name):
            raise UnusableError(
                f"--{name.replace('_', '-')} has no meaning for two profile cards; leave it out"
            )
    shown = beside(*map(load_card, given.files))
    if given.markdown:
        write(given.markdown, shown)
    if given.markdown != STDOUT:
        console().print(Markdown(shown))
    return 0


def _need_one_question(given: argparse.Namespace) -> None:
    """Raise UnusableError unless one thing is asked, and every option takes part in it."""
    asked = sum((bool(given.files), given.base is not None, given.floor))
    if asked != 1 or (given.files and len(given.files) != 2):
        raise UnusableError("give two stored runs, or --base REV, or --floor; see xaimed compare --help")
    measures = ("runs", "only", "bench", "confirm", "keep", "resume")
    judges = ("confirm", "fail_on", "require_judged", "markdown", "export")
    for name in measures if given.files else judges if given.floor else ():
        if getattr(given, name) not in (None, False, KEEP):
            what = (
                "two stored runs, which are not measured again"
                if given.files
                else "--floor, which judges nothing"
            )
            raise UnusableError(f"--{name.replace('_', '-')} has no meaning for {what}; leave it out")


def _measure(given: argparse.Namespace) -> int:
    from xaimed_bench.running.alternate import BENCH, Alternation, is_command

    runs, base, bench = given.runs or FEWEST_RUNS, given.base or "HEAD", given.bench or BENCH
    if given.only and is_command(bench):
        raise UnusableError(
            "--only chooses among tests of pytest; in 'xaimed bench ...' give --methods instead"
        )
    sides = Alternation(Path.cwd(), base, runs=runs, keep=given.keep, resume=given.resume, bench=bench)
    with alone_in(given.keep):
        _keep_what_was_asked(given, bench)
        return _judge_sides(given, sides)


def _judge_sides(given: argparse.Namespace, measured: Alternation) -> int:
    from xaimed_bench.running.alternate import measure_floor

    with measured as sides:
        if given.floor:
            return measure_floor(sides, given.floor_file, given.only)
        old, new = sides.measure(given.only)
        found = _compare(given, old, new)
        _show(given, found, old, new)
        if given.confirm and found.exit_code == 1 and found.slower:
            say(f"\nRunning {len(found.slower)} slower rows again:")
            again = sides.measure(given.only, keys=found.slower, called="again")
            found = found.with_rows_of(_compare(given, *again))
            _show(given, found, old, new)
        return found.exit_code


def _keep_what_was_asked(given: argparse.Namespace, bench: str) -> None:
    """Raise UnusableError for --resume where the runs kept are of other rows."""
    asked, path = {"bench": bench, "only": given.only}, given.keep / "asked.json"
    instead = "leave --resume out, or choose another --keep"
    try:
        before = read_object(path) if given.resume and path.exists() else asked
    except UnreadableError as error:
        raise UnusableError(f"{given.keep} does not say what its runs are of ({error}): {instead}") from error
    if before != asked:
        raise UnusableError(f"{given.keep} holds runs of another --bench or --only: {instead}")
    write_whole(path, json.dumps(asked))


def _compare(given: argparse.Namespace, base: Sequence[Run], new: Sequence[Run]) -> Comparison:
    """Judge. Raises UnusableError where no row of xaimed is in both."""
    from xaimed_reports.compare.compare import FAILING, compare
    from xaimed_reports.compare.floor import load_floor
    from xaimed_reports.compare.sides import Side

    old, now = (Side(tuple(runs)).rows.keys() for runs in (base, new))
    if not old & now:
        first, second = [file.name for file in given.files] or ["the base", "the checkout"]
        raise UnusableError(
            f"no row of xaimed is in both {first} ({len(old)} rows) and {second} ({len(now)} rows): nothing to compare"
        )
    floor = load_floor(given.floor_file, new[0].machine)
    asked = given.require_judged or 0.0
    return compare(base, new, floor=floor, fail_on=given.fail_on or FAILING, required=asked)


def _show(given: argparse.Namespace, found: Comparison, base: Sequence[Run], new: Sequence[Run]) -> None:
    from xaimed_reports.compare.comment import comment
    from xaimed_reports.compare.verdict_list import show_comparison
    from xaimed_reports.history.export import exported_run
    from xaimed_reports.show.terminal import console

    if given.markdown:
        write(given.markdown, comment(found, base, new))
    if given.export:
        write(given.export, exported_run(new[-1], "github-action-benchmark"))
    show_comparison(found, console())


def _verdicts(text: str) -> frozenset[Verdict]:
    """The type of --fail-on: one or more of the verdicts that a comparison gives."""
    from xaimed_reports.compare.verdicts import Verdict as Verdicts

    known: tuple[Verdict, ...] = tuple(verdict for verdict in get_args(Verdicts) if verdict != "alone")
    asked = {word.strip() for word in text.split(",") if word.strip()}
    if unknown := sorted(asked - set(known)):
        raise argparse.ArgumentTypeError(f"no verdict {', '.join(unknown)}; there are {', '.join(known)}")
    if not asked:
        raise argparse.ArgumentTypeError(
            f"no verdict given, so that nothing could fail; there are {', '.join(known)}"
        )
    return frozenset(verdict for verdict in known if verdict in asked)

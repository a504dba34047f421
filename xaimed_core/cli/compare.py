"""Judge new results against old ones.

  xaimed compare old.json new.json        two stored runs, row by row
  xaimed compare --base main              this checkout against a revision, in alternating fresh processes
  xaimed compare --floor                  this checkout against itself: how much the machine alone varies

Exit codes: 0 nothing speaks against the change; 1 a row is slower, larger, gone, wrong or failed, or became too noisy
to judge on a quiet machine; 2 input that cannot be used; 3 inconclusive, because something disturbed the machine.
What each verdict rests on: docs/reading-verdicts.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from xaimed_reports.compare import Comparison
    from xaimed_reports.records import Run
    from xaimed_reports.verdicts import Verdict

FLOOR_FILE = Path("xaimed-results/floor.json")
KEEP = Path("xaimed-results/compare")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files or revisions, what to fail on, and where to write."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="two stored runs: old, new")
    parser.add_argument("--base", metavar="REV", help="revision to compare this checkout with")
    parser.add_argument("--floor", action="store_true", help="measure this checkout against itself")
    parser.add_argument("--runs", type=int, default=6, help="processes a side, 6 at least (default 6)")
    parser.add_argument(
        "--only", metavar="WORDS", help="measure only rows whose name holds these words (pytest -k)"
    )
    parser.add_argument("--confirm", action="store_true", help="run slower rows again; both runs must agree")
    parser.add_argument(
        "--keep", type=Path, default=KEEP, metavar="DIR", help=f"where each process's results go ({KEEP})"
    )
    parser.add_argument(
        "--resume", action="store_true", help="take what --keep already holds of the same commits"
    )
    parser.add_argument(
        "--floor-file", type=Path, default=FLOOR_FILE, help=f"this machine's floor ({FLOOR_FILE})"
    )
    parser.add_argument("--fail-on", metavar="VERDICTS", help="what exits 1, e.g. slower,wrong,gone")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the findings for a pull request")
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="write new times for github-action-benchmark"
    )


def run(given: argparse.Namespace) -> int:
    """Compare, print, write. Returns the exit code."""
    from xaimed_reports.jsonform import UnreadableError

    asked = sum((bool(given.files), given.base is not None, given.floor))
    if asked != 1 or (given.files and len(given.files) != 2):
        return _refuse("give two stored runs, or --base REV, or --floor; see xaimed compare --help")
    if given.runs < 6 and not given.files:
        return _refuse(f"--runs {given.runs}: below 6 processes a side no interval is worth its name")
    try:
        fail_on = _verdicts(given.fail_on)
        if given.files:
            from xaimed_reports.load import load

            base, new = ([load(file)] for file in given.files)
            return _judge(given, base, new, fail_on)
        return _measure(given, fail_on)
    except UnreadableError as error:
        return _refuse(str(error))


def _measure(given: argparse.Namespace, fail_on: frozenset[Verdict] | None) -> int:
    from xaimed_core.measure.alternate import Alternation, RevisionError, measure_floor

    try:
        with Alternation(
            Path.cwd(), given.base or "HEAD", runs=given.runs, keep=given.keep, resume=given.resume
        ) as sides:
            if given.floor:
                return measure_floor(sides, given.floor_file, given.only)
            base, new = sides.measure(given.only)
            code = _judge(given, base, new, fail_on)
            slower = _slower(given, base, new)
            if code != 1 or not given.confirm or not slower:
                return code
            print(f"\nRunning {len(slower)} slower rows again:")
            again = sides.measure(given.only, keys=slower, called="again")
            return _judge(given, *again, fail_on)
    except RevisionError as error:
        return _refuse(str(error))


def _judge(
    given: argparse.Namespace, base: Sequence[Run], new: Sequence[Run], fail_on: frozenset[Verdict] | None
) -> int:
    from xaimed_reports.terminal import console
    from xaimed_reports.verdict_list import action_benchmark, comparison_markdown, show_comparison

    found = _compare(given, base, new, fail_on)
    show_comparison(found, console())
    if given.markdown:
        given.markdown.write_text(comparison_markdown(found) + "\n", encoding="utf-8")
    if given.export:
        given.export.write_text(json.dumps(action_benchmark(new[-1]), indent=1), encoding="utf-8")
    return found.exit_code


def _compare(
    given: argparse.Namespace,
    base: Sequence[Run],
    new: Sequence[Run],
    fail_on: frozenset[Verdict] | None = None,
) -> Comparison:
    from xaimed_reports.compare import FAILING, compare
    from xaimed_reports.floor import load_floor

    floor = load_floor(given.floor_file, new[0].machine)
    return compare(base, new, floor=floor, fail_on=FAILING if fail_on is None else fail_on)


def _slower(given: argparse.Namespace, base: Sequence[Run], new: Sequence[Run]) -> list[str]:
    return [
        j.key for j in _compare(given, base, new).judgements if j.what == "time" and j.verdict == "slower"
    ]


def _verdicts(text: str | None) -> frozenset[Verdict] | None:
    from xaimed_reports.jsonform import UnreadableError
    from xaimed_reports.verdicts import Verdict as Verdicts

    if text is None:
        return None
    known: tuple[Verdict, ...] = get_args(Verdicts)
    words = {word.strip() for word in text.split(",") if word.strip()}
    unknown = sorted(words - set(known))
    if unknown:
        raise UnreadableError(f"--fail-on: no verdict {', '.join(unknown)}; there are {', '.join(known)}")
    return frozenset(verdict for verdict in known if verdict in words)


def _refuse(why: str) -> int:
    print(f"xaimed compare: {why}", file=sys.stderr)
    return 2

"""Put the regression gate on trial on this machine: does it cry wolf, and does it miss one?

  xaimed trial                          make what is missing of all runs, then judge them (an hour on a quiet machine)
  xaimed trial --resume --at-most 1     one more run, for machines that are quiet only now and then
  xaimed trial --resume --at-most 0     judge what is there
  xaimed trial --overhead               only what the harness adds to the calls it times

Runs alike (one commit against itself) give the rate of false alarms, runs with real extra work inside ours the power,
runs beside a busy process what load does. The machine's noise is fixed on the first ten runs alike, which are not
judged. Every finished run is kept in --out: Ctrl-C or a crash loses the one in progress. What the figures mean:
docs/reading-verdicts.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaimed_reports.trial_records import Overhead

OUT = Path("xaimed-results/trial")


def arguments(parser: argparse.ArgumentParser) -> None:
    """How many runs, where they are kept, and how many to make now."""
    parser.add_argument("--alike", type=int, default=30, help="runs of the code as it is (default 30)")
    parser.add_argument("--slowed", type=int, default=24, help="runs with extra work in ours (default 24)")
    parser.add_argument("--loaded", type=int, default=6, help="runs beside a busy process (default 6)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"where runs are kept ({OUT})")
    parser.add_argument("--resume", action="store_true", help="go on with the runs that --out holds")
    parser.add_argument(
        "--at-most", type=int, metavar="N", help="make no more than N runs now; 0: judge what is there"
    )
    parser.add_argument("--overhead", action="store_true", help="measure only the harness's own cost")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the findings to read")


def run(given: argparse.Namespace) -> int:
    """Make the missing runs, judge, print, write."""
    from xaimed_reports.jsonform import UnreadableError

    overhead = given.out / "overhead.json"
    if given.overhead:
        return _measure_overhead(overhead)
    if given.alike < 12 or min(given.slowed, given.loaded, given.at_most or 0) < 0:
        return _refuse("--alike needs 12 runs at least, the other counts must not be negative")
    if not given.resume and any(given.out.glob("*.json")):
        return _refuse(f"{given.out} holds runs already: add --resume, or choose another --out")
    from xaimed_core.measure.alternate import RevisionError

    try:
        return _trial(given, overhead)
    except (UnreadableError, RevisionError) as error:
        return _refuse(str(error))


def _trial(given: argparse.Namespace, overhead: Path) -> int:
    from xaimed_core.measure.trial import TrialRuns
    from xaimed_reports.jsonform import to_json
    from xaimed_reports.trial import judge_trial
    from xaimed_reports.trial_plan import planned
    from xaimed_reports.trial_text import trial_markdown

    plan = planned(given.alike, given.slowed, given.loaded)
    made = TrialRuns(given.out, Path.cwd(), plan)
    runs = made.make(given.at_most)
    print(f"{len(runs)} of {len(plan)} runs are there")
    if len(runs) < len(plan) and given.at_most != 0:
        return 0
    if sum(p.kind == "alike" for p in runs) < 12:
        return _refuse("fewer than 12 runs alike are too few to judge anything by")
    if not overhead.exists():
        _measure_overhead(overhead)
    found = judge_trial(runs, _load_overhead(overhead), made.disturbed)
    text = trial_markdown(found)
    print(text)
    if given.markdown:
        given.markdown.write_text(text + "\n", encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps({"trial": to_json(found)}, indent=1) + "\n", encoding="utf-8")
    return 0


def _measure_overhead(path: Path) -> int:
    from xaimed_core.measure.trial_overhead import measure_overhead
    from xaimed_reports.jsonform import to_json
    from xaimed_reports.trial_records import OverheadFile
    from xaimed_reports.trial_text import overhead_markdown

    found = OverheadFile(tuple(measure_overhead()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(to_json(found), indent=1), encoding="utf-8")
    print(overhead_markdown(found.overhead))
    return 0


def _load_overhead(path: Path) -> list[Overhead]:
    from xaimed_reports.jsonform import UnreadableError, from_json
    from xaimed_reports.trial_records import OverheadFile

    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{path.name}: not JSON") from error
    return list(from_json(OverheadFile, stored, path.name).overhead)


def _refuse(why: str) -> int:
    print(f"xaimed trial: {why}", file=sys.stderr)
    return 2

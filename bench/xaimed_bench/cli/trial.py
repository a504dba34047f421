"""Put the regression gate on trial on this machine: does it cry wolf, and does it miss one?

  xaimed trial                          make what is missing of all runs, then judge them (an hour on a quiet machine)
  xaimed trial --resume --at-most 1     one more run, for machines that are quiet only now and then
  xaimed trial --resume --at-most 0     judge what is there
  xaimed trial --overhead               only what the harness adds to the calls it times

Runs alike (one commit against itself) give the rate of false alarms, runs with real extra work inside ours the power,
runs beside a busy process what load does. The machine's noise is fixed on the first ten runs alike, which are not
judged. Every finished run is kept in --out: Ctrl-C or a crash loses the one in progress. What the figures mean:
docs/reading-verdicts.md.

Exit codes: 0 rows were judged; 2 input that cannot be used; 3 no row was judged, for runs are missing or something
disturbed all of them. The last line counts what was judged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.given import count, file_to_write, folder_to_write, keep_apart, write
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    from xaimed_reports.trial.trial_records import Overhead

OUT = Path("xaimed-results/trial")
FEWEST_ALIKE = 12
"""Ten fix the noise, and two are the first pair to judge."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """How many runs, where they are kept, and how many to make now."""
    parser.add_argument(
        "--alike", type=count(FEWEST_ALIKE), default=30, help="runs of the code as it is (default 30)"
    )
    parser.add_argument(
        "--slowed", type=count(0), default=24, help="runs with extra work in ours (default 24)"
    )
    parser.add_argument("--loaded", type=count(0), default=6, help="runs beside a busy process (default 6)")
    parser.add_argument(
        "--out", type=folder_to_write, default=str(OUT), metavar="DIR", help=f"where runs are kept ({OUT})"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the runs that --out holds")
    parser.add_argument(
        "--at-most", type=count(0), metavar="N", help="make no more than N runs now; 0: judge what is there"
    )
    parser.add_argument("--overhead", action="store_true", help="measure only the harness's own cost")
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="write the findings")
    parser.add_argument("--markdown", type=file_to_write, metavar="FILE", help="write the findings to read")


def run(given: argparse.Namespace) -> int:
    """Make the missing runs, judge, print, write."""
    overhead = given.out / "overhead.json"
    if given.overhead:
        for name in ("resume", "at_most", "json", "markdown"):
            if getattr(given, name) not in (None, False):
                raise UnusableError(f"--{name.replace('_', '-')} has no meaning for --overhead; leave it out")
        return _measure_overhead(overhead)
    if not given.resume and any(given.out.glob("*.json")):
        raise UnusableError(f"{given.out} holds runs already: add --resume, or choose another --out")
    keep_apart([], [given.json, given.markdown])
    for path in (given.json, given.markdown):
        if path is not None and path.resolve().parent == given.out.resolve():
            raise UnusableError(f"{path} lies in {given.out}, where the runs are kept; give another folder")
    return _trial(given, overhead)


def _trial(given: argparse.Namespace, overhead: Path) -> int:
    from xaimed_bench.trial.trial import TrialRuns
    from xaimed_reports.store.jsonform import to_json
    from xaimed_reports.trial.trial import judge_trial
    from xaimed_reports.trial.trial_plan import planned
    from xaimed_reports.trial.trial_text import trial_counted, trial_markdown

    plan = planned(given.alike, given.slowed, given.loaded)
    made = TrialRuns(given.out, Path.cwd(), plan)
    runs = made.make(given.at_most)
    alike = sum(p.kind == "alike" for p in runs)
    there = f"{len(runs)} of {len(plan)} runs are there"
    if (len(runs) < len(plan) and given.at_most != 0) or alike < FEWEST_ALIKE:
        print(f"judged 0 rows: {there}, {alike} of them alike ({FEWEST_ALIKE} needed)")
        return 3
    print(there)
    if not overhead.exists():
        _measure_overhead(overhead)
    found = judge_trial(runs, _load_overhead(overhead), made.disturbed)
    text = trial_markdown(found)
    if given.markdown:
        write(given.markdown, text)
    if given.json:
        write(given.json, json.dumps({"trial": to_json(found)}, indent=1))
    judged, said = trial_counted(found)
    print(f"{text}\n\n{said}")
    return 0 if judged else 3


def _measure_overhead(path: Path) -> int:
    from xaimed_bench.trial.trial_overhead import measure_overhead
    from xaimed_reports.store.jsonform import to_json
    from xaimed_reports.trial.trial_records import OverheadFile
    from xaimed_reports.trial.trial_text import overhead_markdown

    found = OverheadFile(tuple(measure_overhead()))
    write(path, json.dumps(to_json(found), indent=1))
    print(overhead_markdown(found.overhead))
    return 0


def _load_overhead(path: Path) -> list[Overhead]:
    from xaimed_reports.store.jsonform import from_json, read_object
    from xaimed_reports.trial.trial_records import OverheadFile

    return list(from_json(OverheadFile, read_object(path), path.name).overhead)

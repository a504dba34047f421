"""Put the regression gate on trial on this machine: does it cry wolf, and does it miss one?

  xaimed trial                 make what is missing of all runs, then judge them (an hour on a quiet machine)
  xaimed trial --at-most 1     one more run, for machines that are quiet only now and then
  xaimed trial --at-most 0     judge what is there

Runs alike (one commit against itself) give the rate of false alarms, runs with real extra work the power, runs beside
a busy process what load does. The machine's noise is fixed on the first ten runs alike, which are not judged. Every
finished run is kept in --out: Ctrl-C or a crash loses the one in progress. docs/reading-verdicts.md explains the
figures.

Exit codes: 0 rows were judged; 2 input that cannot be used; 3 no row was judged, for runs are missing or something
disturbed all of them. The last line counts what was judged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from xaimed_bench.cli.given import count, file_to_write, folder_to_write, keep_apart, write
from xaimed_reports.format import say

OUT = Path("xaimed-results/trial")
ALIKE, SLOWED, LOADED = 30, 24, 6
"""Runs of each kind that a whole trial has."""
FEWEST_ALIKE = 12
"""Ten fix the noise, and two are the first pair to judge."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where runs are kept, how many to make now, and where to write the findings."""
    parser.add_argument(
        "--out", type=folder_to_write, default=str(OUT), metavar="DIR", help=f"where runs are kept ({OUT})"
    )
    parser.add_argument("--at-most", type=count(0), metavar="N", help="make no more than N runs now")
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="write the findings")
    parser.add_argument("--markdown", type=file_to_write, metavar="FILE", help="write the findings to read")


def run(given: argparse.Namespace) -> int:
    """Make the missing runs, judge, print, write."""
    from xaimed_bench.trial.runs import make_runs
    from xaimed_reports.store.jsonform import to_json
    from xaimed_reports.trial.judge import judge_trial
    from xaimed_reports.trial.records import planned
    from xaimed_reports.trial.words import trial_counted, trial_markdown

    plan = planned(ALIKE, SLOWED, LOADED)
    keep_apart((given.out / f"{p.name}.json" for p in plan), [given.json, given.markdown])
    runs = make_runs(given.out, Path.cwd(), plan, given.at_most)
    alike = sum(p.kind == "alike" for p in runs)
    there = f"{len(runs)} of {len(plan)} runs are there"
    if (len(runs) < len(plan) and given.at_most != 0) or alike < FEWEST_ALIKE:
        say(f"judged 0 rows: {there}, {alike} of them alike ({FEWEST_ALIKE} needed)")
        return 3
    found = judge_trial(runs)
    text = trial_markdown(found)
    if given.markdown:
        write(given.markdown, text)
    if given.json:
        write(given.json, json.dumps({"trial": to_json(found)}, indent=1))
    judged, said = trial_counted(found)
    say(f"{there}\n{text}\n\n{said}")
    return 0 if judged else 3

"""A comparison as the one comment of a pull request: always there, and as loud where nothing is slower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from xaimed_reports.compare.compare import FAILING, Comparison, Judgement
from xaimed_reports.compare.verdict_list import COLUMNS, cells, conclusion, counted
from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.format import versions
from xaimed_reports.rendering import escaped, table
from xaimed_reports.store.devices import device_name
from xaimed_reports.store.rows import Run

MARKER = "<!-- xaimed compare -->"
"""The first line, which no reader sees: whoever posts the comment finds the one before by it."""
MOST_SIGNS = 60_000
"""Of the table: GitHub takes 65,536 characters in a comment, GitLab a million."""


def comment(found: Comparison, base: Sequence[Run], new: Sequence[Run]) -> str:
    """What was found in one line, what it rests on, both sides, and one table, what needs attention first."""
    calm = ("same", "faster")
    ordered = sorted(found.judgements, key=lambda j: j.verdict in calm)
    shown = _fitting(ordered)
    parts = [
        f"{MARKER}\n### xaimed: {headline(found)}",
        f"{conclusion(found)} {counted(found).capitalize()}.",
        f"- base: {_side(base)}\n- new: {_side(new)}",
        table([cells(j, j.key) for j in shown], COLUMNS),
    ]
    if left := len(ordered) - len(shown):
        parts.append(f"{left} more findings do not fit here; the log of the run holds them.")
    return "\n\n".join(parts)


def headline(found: Comparison) -> str:
    """E.g. "nothing slower, 12 of 12 rows judged"; what speaks against the change is counted by its kind."""
    bad = Counter(j.verdict for j in found.judgements if j.verdict in FAILING | found.fail_on)
    order: tuple[Verdict, ...] = get_args(Verdict)
    said = [f"{bad[verdict]} {verdict}" for verdict in order if bad[verdict]]
    if found.became_unknown and found.exit_code == 1:
        said.append(f"{len(found.became_unknown)} too noisy to judge")
    if not said and found.exit_code == 0:
        said = ["nothing slower"]
    if found.exit_code == 3:
        said.insert(0, "inconclusive")
    return ", ".join([*said, f"{len(found.judged)} of {len(found.rows)} rows judged"])


def _side(runs: Sequence[Run]) -> str:
    """Revision, dates, machine and software of one side."""
    dates = sorted(run.started_utc for run in runs)
    when = dates[0] if len(runs) == 1 else f"{len(runs)} processes, {dates[0]} to {dates[-1]}"
    revision = runs[0].revision or "unknown"
    machine = runs[0].machine
    return escaped(f"revision {revision}, {when}; {device_name(machine)}; {versions(machine)}")


def _fitting(ordered: Sequence[Judgement]) -> Sequence[Judgement]:
    """The first findings, so many that their lines stay within `MOST_SIGNS`."""
    signs = 0
    for i, judgement in enumerate(ordered):
        signs += len(" | ".join(map(escaped, cells(judgement, judgement.key)))) + 8
        if signs > MOST_SIGNS:
            return ordered[:i]
    return ordered

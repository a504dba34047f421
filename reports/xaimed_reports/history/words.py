"""What a check found, in sentences."""

from __future__ import annotations

from xaimed_reports.history.judge import FEWEST, RECENT, Cause, Check, Step
from xaimed_reports.history.points import Metric

WORSE: dict[Metric, tuple[str, str]] = {
    "time": ("slower", "faster"),
    "memory": ("larger", "smaller"),
    "difference": ("further from the reference", "closer to the reference"),
    "forward": ("slower", "faster"),
}
CAUSES: dict[Cause, str] = {
    "code": "the code: the machine's plain forward pass did not move, and the environment is the same",
    "kernels": "the code: the compiled kernels' figures changed, too",
    "machine": "the machine: the plain forward pass moved as well",
}


def sentences(found: Check) -> list[str]:
    """A sentence per step or broken row, and a last line that counts what was judged."""
    lines = [f"{row}: {status}; the run before on this machine had a result" for row, status in found.broken]
    lines += [_step(step) for step in found.steps]
    for broke in sorted({broke for _, broke in found.young if broke}):
        lines.append(f"a new series began: {broke}")
    if found.young:
        lines.append(
            f"{len(found.young)} rows have fewer than {FEWEST + RECENT} runs to compare with, so they are not judged"
        )
    if found.disturbed:
        lines.append(
            f"something disturbed the machine during {len(found.disturbed)} rows: their times are kept, and not judged"
        )
    worse = len({step.row for step in found.findings} | {row for row, _ in found.broken})
    total = sum(map(len, (found.judged, found.young, found.disturbed, found.broken)))
    lines.append(
        f"judged {len(found.judged)} of {total} rows of run {found.newest.number}: "
        + (f"{worse} worse" if worse else "nothing worse")
    )
    return lines


def _step(step: Step) -> str:
    word = WORSE[step.metric][0 if step.worse else 1]
    first = step.first.entry.revision or step.first.entry.started_utc
    before = step.before.entry.revision or step.before.entry.started_utc
    return (
        f"{step.row}: {word}, {step.ratio:.3f} of the usual (limit {step.limit:.3f}), since {first} (run "
        f"{step.first.number}; {before} was as usual). Cause: {CAUSES[step.cause]}"
    )

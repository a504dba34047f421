"""A comparison as a table in the terminal, as Markdown for pull requests, and for github-action-benchmark."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .compare import Comparison, Judgement
from .markdown import table
from .records import OURS, Run
from .terminal import COLOURS

COLUMNS = ("case", "what", "new / base [95 %]", "shown only", "why", "verdict")


def show_comparison(found: Comparison, out: Console) -> None:
    """Print every finding and the conclusion."""
    title, name_of = _naming(found)
    grid = Table(title=Text(title), title_justify="left", header_style="bold", pad_edge=False)
    for name in COLUMNS:
        grid.add_column(Text(name), overflow="fold")
    for judgement in found.judgements:
        *cells, verdict = _cells(judgement, name_of[judgement.key])
        grid.add_row(*map(Text, cells), Text(verdict, style=COLOURS[judgement.verdict]))
    out.print(grid)
    out.print(Text(conclusion(found)))


def comparison_markdown(found: Comparison) -> str:
    """The conclusion first, then what needs attention; the rest is folded away."""
    loud = [j for j in found.judgements if j.verdict not in ("same", "faster")]
    parts = [f"**{conclusion(found)}**"]
    parts += [table(COLUMNS, [_cells(j, j.key) for j in loud])] if loud else []
    whole = table(COLUMNS, [_cells(j, j.key) for j in found.judgements])
    parts.append(f"<details><summary>all {len(found.judgements)} findings</summary>\n\n{whole}\n\n</details>")
    return "\n\n".join(parts)


def conclusion(found: Comparison) -> str:
    """One sentence: what was found, and what that means."""
    counts = Counter(j.verdict for j in found.judgements)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()) or "nothing to compare"
    meaning = {
        0: "nothing speaks against the change",
        1: "this must not pass as it is",
        3: "inconclusive: something disturbed the machine, run it again on a quiet one",
    }[found.exit_code]
    noisy = f"; {len(found.became_unknown)} rows became too noisy to judge" if found.became_unknown else ""
    return f"{said}{noisy} (units: {found.units}): {meaning}."


def action_benchmark(run: Run) -> list[dict[str, Any]]:
    """Our rows in github-action-benchmark's "customSmallerIsBetter" format."""
    entries: list[dict[str, Any]] = []
    for row in run.rows:
        if row.impl == OURS and row.timing is not None:
            low, high = min(row.timing.wall_s), max(row.timing.wall_s)
            entries.append(_entry(row.case.key, "s", row.timing.typical_s, f"{low:.4g} to {high:.4g}"))
        if row.impl == OURS and row.memory is not None and row.memory.peak_bytes is not None:
            entries.append(_entry(f"{row.case.key}, memory", "bytes", row.memory.peak_bytes))
        if row.impl == OURS and row.fidelity is not None:
            entries.append(_entry(f"{row.case.key}, largest difference", "1", row.fidelity.largest))
    return entries


def _entry(name: str, unit: str, value: float, spread: str | None = None) -> dict[str, Any]:
    return {"name": name, "unit": unit, "value": value, **({"range": spread} if spread else {})}


def _naming(found: Comparison) -> tuple[str, dict[str, str]]:
    """The question as a title and each row by its axes alone, where all rows are of one question."""
    keys = [j.key for j in found.judgements]
    questions = {key.partition("[")[0] for key in keys}
    if len(questions) != 1:
        return "", {key: key for key in keys}
    return questions.pop(), {key: key.partition("[")[2].removesuffix("]") for key in keys}


def _cells(judgement: Judgement, name: str) -> tuple[str, ...]:
    change = judgement.change
    ratio = "-" if change is None else f"{change.ratio:.3f} [{change.low:.3f}, {change.high:.3f}]"
    return (name, judgement.what, ratio, judgement.shown or "-", judgement.why, judgement.verdict)

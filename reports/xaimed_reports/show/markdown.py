"""A run as Markdown, for pull requests and READMEs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from xaimed_reports.format import machine_line
from xaimed_reports.show.summary import cells, columns, lines, sentences, title
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.rows import Run
from xaimed_reports.tradeoff import tradeoff_words

NO_MAPS = "this run judged no maps; make one with: pytest bench/bench_tradeoff.py"


def markdown(run: Run) -> str:
    """Tables by question, the reasons of verdicts that need one, three sentences, and the machine."""
    parts: list[str] = []
    for bench, group in groupby(lines(run), key=lambda line: line.bench):
        found = list(group)
        parts += [f"**{escaped(title(run, bench))}**", table(columns(run), [cells(line) for line in found])]
        reasons = [f"- {line.verdict}: {cells(line)[0]}: {line.why}" for line in found if line.needs_reason]
        parts += ["\n".join(reasons)] if reasons else []
    parts += [*_tradeoff(run), " ".join(sentences(run)), machine_line(run)]
    return "\n\n".join(parts)


def tradeoff(run: Run) -> str:
    """What maps cost and what they are worth, alone, and the machine. Raises UnusableError where none were judged."""
    found = _tradeoff(run)
    if not found:
        raise UnusableError(NO_MAPS)
    return "\n\n".join([*found, machine_line(run)])


def tradeoff_in_short(run: Run) -> str:
    """AblationCAM beside XGradCAM at each layer, and what is recommended."""
    head, rows = tradeoff_words.in_short(run)
    if not rows:
        raise UnusableError(NO_MAPS)
    return "\n\n".join([table(head, rows), " ".join(tradeoff_words.recommendations(run)), machine_line(run)])


SECTIONS: dict[str, Callable[[Run], str]] = {
    "all": markdown,
    "tradeoff": tradeoff,
    "tradeoff-in-short": tradeoff_in_short,
}
"""What a page may show of a run, by name."""


def _tradeoff(run: Run) -> list[str]:
    found = tradeoff_words.tables(run)
    if not found:
        return []
    parts = [f"**{tradeoff_words.TITLE}**"]
    for name, rows in found:
        parts += [f"**{escaped(name)}**", table(tradeoff_words.COLUMNS, rows)]
    parts.append(tradeoff_words.LEGEND.replace("*", "\\*"))
    return parts + [said.replace("*", "\\*") for said in tradeoff_words.answer(run)]


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; all columns but the first and last are numbers and set to the right."""
    align = [":--", *("--:" for _ in head[1:-1]), ":--"]
    return "\n".join(
        f"| {' | '.join(escaped(cell) for cell in row)} |" for row in [head, tuple(align), *rows]
    )


def escaped(cell: str) -> str:
    """A cell's text with what would end the cell, or begin markup, disarmed."""
    return (
        cell.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("*", "\\*")
        .replace("<", "&lt;")
        .replace("\n", " ")
    )

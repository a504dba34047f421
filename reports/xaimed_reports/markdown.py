"""A run as Markdown, for pull requests and READMEs."""

from __future__ import annotations

from itertools import groupby

from .records import Run
from .summary import lines, sentences
from .terminal import COLUMNS, cells, title
from .words import machine_line


def markdown(run: Run) -> str:
    """Tables by question, the reasons of verdicts that need one, three sentences, and the machine."""
    parts: list[str] = []
    for bench, group in groupby(lines(run), key=lambda line: line.bench):
        found = list(group)
        parts += [f"**{escaped(title(run, bench))}**", table(COLUMNS, [cells(line) for line in found])]
        reasons = [f"- {line.verdict}: {cells(line)[0]}: {line.why}" for line in found if line.needs_reason]
        parts += ["\n".join(reasons)] if reasons else []
    parts += [" ".join(sentences(run)), machine_line(run)]
    return "\n\n".join(parts)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; all columns but the first and last are numbers and set to the right."""
    align = [":--", *("--:" for _ in head[1:-1]), ":--"]
    return "\n".join(
        f"| {' | '.join(escaped(cell) for cell in row)} |" for row in [head, tuple(align), *rows]
    )


def escaped(cell: str) -> str:
    """A cell's text with what would end the cell, or begin markup, disarmed."""
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

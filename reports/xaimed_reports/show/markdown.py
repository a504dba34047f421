"""A run as Markdown, for pull requests and READMEs: by the templates ``run.md`` and ``tradeoff.md``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from xaimed_reports.format import machine_line
from xaimed_reports.rendering import escaped, markdown_page
from xaimed_reports.show.summary import cells, columns, lines, reasons, sentences, title
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.rows import Run
from xaimed_reports.tradeoff import tradeoff_words

NO_ABLATION = (
    "this run holds no AblationCAM beside cheaper maps; make one with: pytest bench/bench_tradeoff.py"
)


def markdown(run: Run) -> str:
    """Tables by question, the reasons of verdicts that need one, three sentences, and the machine."""
    grouped = [(bench, list(group)) for bench, group in groupby(lines(run), key=lambda line: line.bench)]
    return markdown_page(
        "run.md",
        questions=[
            (
                title(run, bench),
                [cells(line) for line in found],
                reasons(found),
            )
            for bench, found in grouped
        ],
        columns=columns(run),
        sentences=sentences(run),
        machine=machine_line(run),
        **_tradeoff(run),
    )


def tradeoff(run: Run) -> str:
    """What maps cost, and the machine. Raises UnusableError where a run asked something else."""
    found = _tradeoff(run)
    if not found["places"]:
        raise UnusableError(NO_ABLATION)
    return f"{markdown_page('tradeoff.md', **found)}\n\n{escaped(machine_line(run))}"


SECTIONS: dict[str, Callable[[Run], str]] = {
    "all": markdown,
    "tradeoff": tradeoff,
}
"""What a page may show of a run, by name."""


def _tradeoff(run: Run) -> dict[str, Any]:
    return {
        "places": tradeoff_words.tables(run),
        "answer": tradeoff_words.answer(run),
        "words": tradeoff_words,
    }

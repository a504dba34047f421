"""A run in the terminal: a table of cases, what their verdicts mean, and three sentences."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.show.summary import Line, cells, columns, lines, sentences, title
from xaimed_reports.store.rows import Run
from xaimed_reports.tradeoff import tradeoff_words

COLOURS: dict[Verdict, str] = {
    "faster": "green",
    "same": "cyan",
    "slower": "red",
    "wrong": "bold red",
    "failed": "bold red",
    "oom": "magenta",
    "unknown": "yellow",
    "degenerate": "yellow",
    "skipped": "dim",
    "new": "cyan",
    "gone": "bold red",
    "incomparable": "yellow",
    "larger": "red",
    "alone": "dim",
}


class _Piped(Console):
    def on_broken_pipe(self) -> None:
        """Let the error out: rich would end the process with 1, the exit code of a finding."""
        raise BrokenPipeError


def console() -> Console:
    """A console as wide as the terminal; 130 columns where the output is no terminal."""
    found = _Piped()
    return found if found.is_terminal else _Piped(width=130)


def show(run: Run, out: Console) -> None:
    """Print the closing table of a run."""
    for bench, group in groupby(lines(run), key=lambda line: line.bench):
        out.print(_table(title(run, bench), columns(run), list(group)))
    for line in lines(run):
        if line.needs_reason:
            out.print(Text(f"  {line.verdict}: {line.name}: {line.why}", style=COLOURS[line.verdict]))
    _show_tradeoff(run, out)
    out.print()
    for sentence in sentences(run):
        out.print(Text(sentence))


def _show_tradeoff(run: Run, out: Console) -> None:
    """What maps cost and what they are worth, where the run judged them."""
    for name, rows in tradeoff_words.tables(run):
        table = Table(title=Text(name), title_justify="left", header_style="bold", pad_edge=False)
        for k, column in enumerate(tradeoff_words.COLUMNS):
            table.add_column(Text(column), justify="right" if k else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        out.print(table)
    said = tradeoff_words.answer(run)
    for sentence in [tradeoff_words.LEGEND, *said] if said else []:
        out.print(Text(f"\n{sentence}"))


def _table(title: str, names: tuple[str, ...], found: list[Line]) -> Table:
    table = Table(title=Text(title), title_justify="left", header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(Text(name), justify="left" if name in ("case", "verdict") else "right")
    for line in found:
        table.add_row(*map(Text, cells(line)[:-1]), Text(line.verdict, style=COLOURS[line.verdict]))
    return table

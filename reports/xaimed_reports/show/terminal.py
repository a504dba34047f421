"""A run in the terminal: a table of cases, what their verdicts mean, and three sentences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from shutil import get_terminal_size

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.format import printable
from xaimed_reports.show.summary import cells, columns, lines, reasons, sentences, title
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
    """A console as wide as COLUMNS says, else as the terminal; 130 columns where the output is no terminal."""
    return _Piped(width=get_terminal_size((130, 24)).columns)  # rich takes COLUMNS=0 at its word


def plain(text: str, style: str = "") -> Text:
    """A text that steers no terminal, whatever file it comes from."""
    return Text(printable(text), style)


def print_grid(
    out: Console, title: str, head: Sequence[str], rows: Sequence[Sequence[str | Text]], left: Collection[str]
) -> None:
    """Print a table whose words are never cut: where it is too wide, its cells break between words.

    :param left: the columns of words, set to the left; the others are numbers.
    """
    head = [printable(name) for name in head]
    rows = [[plain(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    columns = [[str(cell) for cell in column] for column in zip(head, *rows, strict=True)]
    widths = [max(map(cell_len, column)) for column in columns]
    least = [max(map(cell_len, " ".join(column).split())) for column in columns]
    gaps = len(head) - 1
    while sum(widths) + gaps > out.width and widths != least:
        k = max((k for k, width in enumerate(widths) if width > least[k]), key=widths.__getitem__)
        widths[k] -= 1
    table = Table(
        title=plain(title),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        width=sum(widths) + gaps,
    )
    for name, width in zip(head, widths, strict=True):
        table.add_column(Text(name, "bold"), justify="left" if name in left else "right", width=width)
    for row in rows:
        table.add_row(*row)
    out.print(table, crop=False)


def show(run: Run, out: Console) -> None:
    """Print the closing table of a run."""
    for bench, group in groupby(lines(run), key=lambda line: line.bench):
        rows = [[*cells(line)[:-1], Text(line.verdict, COLOURS[line.verdict])] for line in group]
        print_grid(out, title(run, bench), columns(run), rows, left=("case", "verdict"))
    for verdict, reason in reasons(lines(run)):
        out.print(plain(f"  {reason}", style=COLOURS[verdict]))
    _show_tradeoff(run, out)
    out.print()
    for sentence in sentences(run):
        out.print(plain(sentence))


def _show_tradeoff(run: Run, out: Console) -> None:
    for name, rows in tradeoff_words.tables(run):
        print_grid(out, name, tradeoff_words.COLUMNS, rows, left=("map",))
    said = tradeoff_words.answer(run)
    for sentence in [tradeoff_words.LEGEND, *said] if said else []:
        out.print()
        out.print(plain(sentence))

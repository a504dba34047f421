"""Remember runs, and judge the newest one by all before it.

  xaimed history add run.json            append a run of `pytest bench --benchmark-json=run.json`
  xaimed history check                   is the newest run slower, larger or wrong, and what moved beside it?
  xaimed history show                    the newest values, a line per row
  xaimed history html trend.html         one page of trends that opens anywhere, offline
  xaimed history export points.csv       all numbers; --format otava, bencher, ...: for these tools
  xaimed history verify                  is the file whole, and every run as it was added?
  xaimed history verify --head HASH      are all runs there that were there when verify printed HASH?

The history is one file that only grows (--file, xaimed-history.sqlite). A check exits with 1 where it found something,
and with 3 where no row has runs enough to be judged. What it goes by: docs/tracking.md.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.given import file_named, keep_apart, to_write, within, words, write
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    from xaimed_reports.history.points import Metric
    from xaimed_reports.history.store import Stored

FILE = Path("xaimed-history.sqlite")
NOTHING_JUDGED = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and the history's file."""
    parser.add_argument("what", choices=sorted(_ACTIONS), help="what to do")
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="runs to add, or the one file to write"
    )
    parser.add_argument(
        "--file", type=file_named, default=str(FILE), metavar="FILE", help="the history (%(default)s)"
    )
    parser.add_argument(
        "--revision", metavar="REV", help="add: the commit measured, where the run does not name it"
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="STATIC",
        help="add: the compiled kernels' figures (static.json), so that a check can say whether they changed",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="export: points (the default: every number), otava, or of the newest run bencher, github-action-benchmark",
    )
    parser.add_argument(
        "--head", type=words, metavar="HASH", help="verify: what an earlier verify printed, kept elsewhere"
    )
    parser.add_argument(
        "--factor",
        type=within(above=1, below=100),
        default="1.03",
        help="check: a change of time below this is no finding (%(default)s)",
    )


def run(given: argparse.Namespace) -> int:
    """Do it. Returns the exit code."""
    for name, what in (("revision", "add"), ("figures", "add"), ("format", "export"), ("head", "verify")):
        if given.what != what and getattr(given, name) is not None:
            raise UnusableError(f"--{name} belongs to xaimed history {what}; leave it out")
    if given.what in ("html", "export"):
        if len(given.paths) != 1:
            raise UnusableError(f"xaimed history {given.what} takes the file to write; - is the terminal")
        given.paths = [to_write(str(given.paths[0]))]
        keep_apart([given.file], given.paths)
    elif given.what != "add" and given.paths:
        raise UnusableError(
            f"xaimed history {given.what} takes no file but --file; leave {given.paths[0]} out"
        )
    if given.what == "add":  # the others read, also where nothing may be written
        to_write(str(given.file))
    return _ACTIONS[given.what](given)


def _add(given: argparse.Namespace) -> int:
    from xaimed_reports.history.points import entry
    from xaimed_reports.history.store import add
    from xaimed_reports.store.load import load

    if not given.paths:
        raise UnusableError("no run given; type: xaimed history add RUN.json")
    figures = hashlib.sha256(given.figures.read_bytes()).hexdigest() if given.figures else ""
    for path in given.paths:
        try:
            found = entry(load(path), figures)
        except UnusableError:
            raise
        except ValueError as error:
            raise UnusableError(f"{path}: {error}") from error
        number = add(given.file, replace(found, revision=given.revision or found.revision))
        rows = len({point.row for point in found.points})
        said = "is there already" if number is None else f"is run {number} of {given.file}: {rows} rows"
        say(f"{path.name} {said}")
    return 0


def _check(given: argparse.Namespace) -> int:
    from xaimed_reports.history.judge import check
    from xaimed_reports.history.words import sentences

    found = check(_some(given.file), factor=given.factor - 1)
    say("\n".join(sentences(found)))
    if found.findings or found.broken:
        return 1
    return 0 if found.judged else NOTHING_JUDGED


def _show(given: argparse.Namespace) -> int:
    from rich.table import Table

    from xaimed_reports.format import byte_count, number, seconds
    from xaimed_reports.history.series import series
    from xaimed_reports.show.terminal import console, plain

    history = _some(given.file)
    newest = history[-1]
    table = Table(
        title=plain(f"Run {newest.number} of {len(history)}, {newest.entry.machine}, {newest.entry.revision}")
    )
    table.add_column("row", overflow="fold")
    for name in ("runs alike", "forwards", "memory", "difference", "forward"):
        table.add_column(name, justify="right")
    words: dict[Metric, Callable[[float], str]] = {
        "time": number,
        "disturbed": lambda value: f"{number(value)}, disturbed",
        "memory": lambda value: byte_count(int(value)),
        "difference": "{:.1e}".format,
        "forward": seconds,
    }
    alike = {s.row: len(s.runs) for s in series(history, "time") if s.runs[-1] is newest}
    values = {(p.row, p.metric): p.value for p in newest.entry.points}
    for row in sorted({row for row, _ in values}):
        said = {key: say(values[row, key]) for key, say in words.items() if (row, key) in values}
        said.setdefault("time", said.get("disturbed", "-"))
        cells = [said.get(key, "-") for key in words if key != "disturbed"]
        table.add_row(plain(row), str(alike.get(row, 0)), *cells)
    for each in newest.entry.broken:
        table.add_row(plain(each.row), plain(each.status), "-", "-", "-", "-")
    console().print(table)
    return 0


def _html(given: argparse.Namespace) -> int:
    from xaimed_reports.history.page import page

    write(given.paths[0], page(_some(given.file)))
    return 0


def _export(given: argparse.Namespace) -> int:
    from xaimed_reports.history.export import exported

    write(given.paths[0], exported([run.entry for run in _some(given.file)], given.format or "points"))
    return 0


def _verify(given: argparse.Namespace) -> int:
    from xaimed_reports.history.store import faults, heads, read

    if found := faults(given.file):
        say("\n".join(found))
        return 1
    chain = heads(read(given.file))
    if given.head is not None and given.head not in chain:
        removed = "runs were removed, or it is of another history"
        say(f"{given.file}: no run of its {len(chain)} has the head {given.head}: {removed}")
        return 1
    say(
        f"{given.file}: {len(chain)} runs, each as it was added"
        + "".join(f"; head {head}" for head in chain[-1:])
    )
    return 0


def _some(file: Path) -> tuple[Stored, ...]:
    from xaimed_reports.history.store import read

    history = read(file)
    if not history:
        raise UnusableError(f"{file}: no run was added yet; type: xaimed history add RUN.json")
    return history


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "add": _add,
    "check": _check,
    "export": _export,
    "html": _html,
    "show": _show,
    "verify": _verify,
}

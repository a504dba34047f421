"""Show a stored run.

  xaimed report out.json                        a table in the terminal
  xaimed report out.json --html report.html     one page that opens anywhere, offline
  xaimed report out.json --markdown -           for a pull request or a README
  xaimed report out.json --export bencher FILE  for other tools: github-action-benchmark, bencher, otava
  xaimed report summary.json                    what maps are worth, found by xaimed evaluate
  xaimed report profile.json                    a device's profile card
  xaimed report out.json --section tradeoff --markdown -     what AblationCAM costs beside the cheaper maps

FILE is what `pytest bench --benchmark-json=FILE` wrote, or the journal (.journal.jsonl) of a run that ended early.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.given import STDOUT, file_to_write, keep_apart, to_write, write
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    from xaimed_reports.store.rows import Run


def arguments(parser: argparse.ArgumentParser) -> None:
    """One file, and where to put which rendering."""
    parser.add_argument("file", type=Path, help="the stored run")
    parser.add_argument(
        "--html", type=file_to_write, metavar="PAGE", help="write one self-contained HTML page"
    )
    parser.add_argument(
        "--markdown",
        type=file_to_write,
        metavar="FILE",
        help="write Markdown; - prints it instead of the table",
    )
    parser.add_argument(
        "--section",
        choices=("all", "in-short", "tradeoff"),
        help="what --markdown shows; default: all",
    )
    parser.add_argument(
        "--export",
        nargs=2,
        metavar=("FORMAT", "FILE"),
        help="write forwards, memory and fidelity of each row as github-action-benchmark, bencher or otava reads them",
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="CARD",
        help="profile.json whose roofline --html shows; default: beside FILE",
    )
    parser.add_argument(
        "--no-images", action="store_true", help="leave images and maps out of the page, to share it"
    )


def run(given: argparse.Namespace) -> int:
    """Load, render, write. Raises UnusableError for a file or options that cannot be used."""
    from xaimed_reports.show.terminal import console, show
    from xaimed_reports.store.kinds import file_kind
    from xaimed_reports.store.load import load

    for name, needs in (("section", "markdown"), ("profile", "html"), ("no_images", "html")):
        if getattr(given, name) and not getattr(given, needs):
            raise UnusableError(f"--{name.replace('_', '-')} belongs to --{needs}, which is missing")
    target = to_write(given.export[1]) if given.export else None
    keep_apart(
        [given.file, *([given.profile] if given.profile else [])], [given.html, given.markdown, target]
    )
    kind = file_kind(given.file)
    if kind == "card":
        return _show_card(given)
    if kind == "evaluation":
        return _show_evaluation(given)
    if given.section == "in-short":
        raise UnusableError("--section in-short is for evaluations; of a run there are all and tradeoff")
    stored = load(given.file)
    if given.markdown:
        from xaimed_reports.show.markdown import SECTIONS

        write(given.markdown, SECTIONS[given.section or "all"](stored))
    if given.html:
        write(given.html, _page(given, stored))
    if target is not None:
        from xaimed_reports.history.export import exported_run

        write(target, exported_run(stored, given.export[0]))
    if STDOUT not in (given.markdown, given.html, target):
        show(stored, console())
        if given.html:
            say(f"\nPage: {given.html}")
    return 0


def _show_card(given: argparse.Namespace) -> int:
    """A profile card: as text here, or as a file of Markdown."""
    from rich.markdown import Markdown

    from xaimed_reports.profile.card import load_card
    from xaimed_reports.profile.card_markdown import card_markdown
    from xaimed_reports.show.terminal import console

    for name in ("html", "section", "profile", "export"):
        if getattr(given, name):
            raise UnusableError(
                f"{given.file} is a profile card, for which there is no --{name}; leave it out"
            )
    keep_apart([given.file], [given.markdown])
    shown = card_markdown(load_card(given.file))
    if given.markdown:
        write(given.markdown, shown)
    else:
        console().print(Markdown(shown))
    return 0


def _show_evaluation(given: argparse.Namespace) -> int:
    """What maps are worth: as text here, as Markdown, or as a page."""
    from rich.markdown import Markdown

    from xaimed_reports.show.terminal import console
    from xaimed_reports.study.evaluation import load
    from xaimed_reports.study.report import report_in_short, report_markdown, report_page

    for name in ("profile", "export"):
        if getattr(given, name):
            raise UnusableError(
                f"{given.file} is an evaluation, for which there is no --{name}; leave it out"
            )
    if given.section not in (None, "all", "in-short"):
        raise UnusableError(f"--section {given.section}: of an evaluation there are all and in-short")
    keep_apart([given.file], [given.html, given.markdown])
    found = load(given.file)
    shown = report_in_short(found) if given.section == "in-short" else report_markdown(found)
    if given.markdown:
        write(given.markdown, shown)
    if given.html:
        write(given.html, report_page(found))
    if not (given.markdown or given.html):
        console().print(Markdown(shown))
    return 0


def _page(given: argparse.Namespace, stored: Run) -> str:
    from xaimed_reports.profile.card import card_beside, load_card
    from xaimed_reports.show.page import page
    from xaimed_reports.show.pictures import load_pictures

    card = load_card(given.profile) if given.profile else card_beside(given.file, stored.machine)
    return page(stored, {} if given.no_images else load_pictures(given.file), card)

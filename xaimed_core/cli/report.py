"""Show a stored run.

  xaimed report out.json                        a table in the terminal
  xaimed report out.json --html report.html     one page that opens anywhere, offline
  xaimed report out.json --markdown -           for a pull request or a README
  xaimed report out.json --section tradeoff --markdown - --svg docs/     what maps cost and are worth, and the picture

FILE is what `pytest bench --benchmark-json=FILE` wrote, or the journal (.journal.jsonl) of a run that ended early.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """One file, and where to put which rendering."""
    parser.add_argument("file", type=Path, help="the stored run")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write one self-contained HTML page")
    parser.add_argument("--markdown", metavar="FILE", help="write Markdown; - prints it instead of the table")
    parser.add_argument(
        "--section",
        default="all",
        choices=("all", "tradeoff", "tradeoff-in-short"),
        help="what --markdown shows; default: %(default)s",
    )
    parser.add_argument(
        "--svg", type=Path, metavar="FOLDER", help="write cost against worth, one SVG per network"
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
    """Load, render, write. 2 with one line on stderr when the file cannot be used."""
    from xaimed_reports.jsonform import UnreadableError
    from xaimed_reports.load import load
    from xaimed_reports.terminal import console, show

    try:
        stored = load(given.file)
    except UnreadableError as error:
        print(f"xaimed report: {error}", file=sys.stderr)
        return 2
    if given.markdown:
        from xaimed_reports.markdown import SECTIONS

        try:
            _write(SECTIONS[given.section](stored), given.markdown)
        except ValueError as error:
            print(f"xaimed report: {error}", file=sys.stderr)
            return 2
    if given.svg:
        from xaimed_reports.tradeoff_figure import drawn

        for name, text in drawn(stored, given.file.stem).items():
            (given.svg / name).write_text(text, encoding="utf-8")
    if given.markdown != "-":
        show(stored, console())
    if given.html:
        from xaimed_reports.card import card_beside, load_card
        from xaimed_reports.page import page
        from xaimed_reports.pictures import pictures_of

        try:
            card = load_card(given.profile) if given.profile else card_beside(given.file, stored.machine)
        except UnreadableError as error:
            print(f"xaimed report: {error}", file=sys.stderr)
            return 2
        given.html.parent.mkdir(parents=True, exist_ok=True)
        pictures = {} if given.no_images else pictures_of(given.file)
        given.html.write_text(page(stored, pictures, card), encoding="utf-8")
        print(f"\nPage: {given.html}")
    return 0


def _write(text: str, where: str) -> None:
    if where == "-":
        print(text)
    else:
        Path(where).write_text(text, encoding="utf-8")

"""The `xaimed` command. Each subcommand is imported when called, so that those without torch start at once."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, cast

from xaimed_bench.cli.given import Parser
from xaimed_reports.store.jsonform import UnusableError

COMMANDS = {
    "report": "show a stored run: a table here, Markdown, or one HTML page that opens anywhere",
    "compare": "judge two stored runs, or two revisions of the code: faster, slower, same or unknown",
    "trial": "put the regression gate on trial here: false alarms, power, load",
    "profile": "measure what this device can do, and how much of it the kernels reach",
    "study": "train a classifier on a folder of images and score its maps by ROAD beside baselines",
    "doctor": "print what a bug report needs to know about this machine",
}

USABLE, UNUSABLE_INPUT, FAULT, INTERRUPTED = 0, 2, 70, 130
"""Exit codes of all subcommands: done; input that cannot be used, or output that nobody takes; a fault of xaimed
itself; Ctrl-C. A subcommand adds 1 where it found something, and 3 where nothing could be judged."""
MOST_LINES = 3
"""Of a message."""


class Command(Protocol):
    """What the module of a subcommand offers."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the subcommand's arguments."""
        ...

    def run(self, given: argparse.Namespace) -> int:
        """Do it and return the exit code."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code. The one place where errors become messages.

    What the user gave or the system refuses (UnusableError, OSError) is said in `MOST_LINES` lines at most, with exit
    code 2. Any other error is a fault of xaimed, shown with its traceback.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = f"xaimed {given[0]}" if given and given[0] in COMMANDS else "xaimed"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a sign shows another
    try:
        try:
            return _run(given)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (UnusableError, OSError) as error:
        _forget_output()
        print(f"{name}: {_said(error)}", file=sys.stderr)
        return UNUSABLE_INPUT
    except Exception:
        traceback.print_exc()
        print(f"{name}: this is a fault of xaimed; please report it with the lines above", file=sys.stderr)
        return FAULT


def _run(given: list[str]) -> int:
    if not given or given[0] not in COMMANDS:
        return _overview(given)
    name, *rest = given
    command = cast(Command, importlib.import_module(f"{__name__}.{name}"))
    doc = (sys.modules[f"{__name__}.{name}"].__doc__ or "").strip()
    parser = Parser(
        prog=f"xaimed {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.arguments(parser)
    return command.run(parser.parse_args(rest))


def _said(error: UnusableError | OSError) -> str:
    """An error as a user reads it."""
    if isinstance(error, BrokenPipeError):
        return "the output was closed before all was written"
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return "\n".join(text.splitlines()[:MOST_LINES])


def _forget_output() -> None:
    """Where stdout cannot be written to, keep Python from trying again, and complaining, at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # a stdout that is no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _overview(given: list[str]) -> int:
    if given == ["--version"]:
        from xaimed_core import __version__

        print(f"xaimed {__version__}")
        return USABLE
    if given and given[0] not in ("-h", "--help", "help"):
        raise UnusableError(f"no command {given[0]!r}; there are {', '.join(COMMANDS)}: see xaimed --help")
    print("usage: xaimed COMMAND [...]       xaimed COMMAND --help says more\n")
    for name, what in COMMANDS.items():
        print(f"  {name:<9} {what}")
    print("\nTo measure: pytest bench --benchmark-json=out.json, or make bench in a checkout.")
    return USABLE

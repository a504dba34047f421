"""The `xaimed` command. Each subcommand is imported when called, so that those without torch start at once."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

COMMANDS = {
    "report": "show a stored run: a table here, Markdown, or one HTML page that opens anywhere",
    "compare": "judge two stored runs, or two revisions of the code: faster, slower, same or unknown",
    "trial": "put the regression gate on trial here: false alarms, power, load, overhead",
    "profile": "measure what this device can do, and how much of it the kernels reach",
    "study": "train a classifier on a folder of images and score its maps by ROAD beside baselines",
    "doctor": "print what a bug report needs to know about this machine",
}

USABLE, UNUSABLE_INPUT = 0, 2
"""Exit codes shared by all subcommands; `compare` adds its own."""
INTERRUPTED = 130


class Command(Protocol):
    """What the module of a subcommand offers."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the subcommand's arguments."""
        ...

    def run(self, given: argparse.Namespace) -> int:
        """Do it and return the exit code."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand. Returns its exit code; 2 for arguments or input that cannot be used."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] not in COMMANDS:
        return _overview(given)
    name, *rest = given
    command = cast(Command, importlib.import_module(f"{__name__}.{name}"))
    doc = (sys.modules[f"{__name__}.{name}"].__doc__ or "").strip()
    parser = argparse.ArgumentParser(
        prog=f"xaimed {name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.arguments(parser)
    try:
        return command.run(parser.parse_args(rest))
    except KeyboardInterrupt:
        print(f"\nxaimed {name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, head or less, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USABLE


def _overview(given: list[str]) -> int:
    asked = not given or given[0] in ("-h", "--help", "help")
    if given == ["--version"]:
        from xaimed_core import __version__

        print(f"xaimed {__version__}")
        return USABLE
    out = sys.stdout if asked else sys.stderr
    if not asked:
        print(f"xaimed: no command {given[0]!r}\n", file=out)
    print("usage: xaimed COMMAND [...]       xaimed COMMAND --help says more\n", file=out)
    for name, what in COMMANDS.items():
        print(f"  {name:<9} {what}", file=out)
    print("\nTo measure: pytest bench --benchmark-json=out.json, or make bench in a checkout.", file=out)
    return USABLE if asked else UNUSABLE_INPUT

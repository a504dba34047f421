"""The `xaimed` command. Each subcommand is imported when called, so that those without torch start at once."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Protocol, cast

from xaimed_bench.cli.given import Parser
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError

COMMANDS = {
    "bench": "measure the methods, ROAD and memory of your own model, beside grad-cam or alone",
    "report": "show a stored run: a table here, Markdown, or one HTML page that opens anywhere",
    "compare": "judge two stored runs, or two revisions of the code: faster, slower, same or unknown",
    "history": "remember runs, judge the newest by all before it, and draw the trend",
    "trial": "put the regression gate on trial here: false alarms, power, load",
    "bisect": "name the commit that made a row slower, by git bisect over that comparison",
    "profile": "measure what this device can do, and how much of it the kernels reach",
    "kernels": "run compiled kernels on the CPU, instruction by instruction: faults found, work counted",
    "data": "look through a folder of images: classes, splits, leaks, files that cannot be read",
    "train": "train a classifier on a folder of images, resumable at any moment",
    "evaluate": "score the maps of a trained network image by image: ROAD, localisation, baselines",
    "doctor": "print what a bug report needs to know about this machine",
}

SHOWING = ("jinja2", "matplotlib", "rich", "scipy")
NEEDS = {
    "bench": (*SHOWING, "torchvision"),
    "report": SHOWING,
    "compare": SHOWING,
    "bisect": (*SHOWING, "pytest", "pytest_benchmark"),
    "history": (*SHOWING, "ruptures"),
    "trial": (*SHOWING, "pytest", "pytest_benchmark", "pytorch_grad_cam", "torchvision"),
    "profile": (*SHOWING, "torchvision"),
    "kernels": ("rich", "scipy"),
    "data": ("PIL", "imagehash", "rich", "scipy"),
    "train": ("PIL", "imagehash", "rich", "safetensors", "scipy", "torchmetrics", "torchvision"),
    "evaluate": (*SHOWING, "PIL", "imagehash", "pyarrow", "safetensors", "torchvision"),
}
"""Packages without which a subcommand does not start: of the extra ``bench``, but for those of ``study``."""
OF_STUDY = frozenset(("imagehash", "pyarrow", "timm", "torchmetrics"))

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
    code 2, and so is a package that is not installed. Any other error is a fault of xaimed, shown with its traceback.
    """
    _open_what_is_closed()
    given = [_from_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    name = f"xaimed {given[0]}" if given and given[0] in COMMANDS else "xaimed"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a sign shows another
    try:
        try:
            with _warnings_as_notes():
                return _run(given)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _tell(f"\n{name}: interrupted")
        return INTERRUPTED
    except (UnusableError, OSError) as error:
        _forget_output()
        _tell(f"{name}: {_said(error)}")
        return UNUSABLE_INPUT
    except Exception as error:
        if (package := _missing_package(error)) is not None:
            _tell(f"{name}: {not_installed(package)}")
            return UNUSABLE_INPUT
        _tell(traceback.format_exc())
        _tell(f"{name}: this is a fault of xaimed; please report it with the lines above")
        return FAULT


def _open_what_is_closed() -> None:
    """Let a closed stdin, stdout or stderr lead to nowhere: Python has None there, and gives its number to a file."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


@contextmanager
def _warnings_as_notes() -> Generator[None]:
    """Say a warning once, in one line, without the place in the code that a user cannot change."""
    said: set[str] = set()

    def note(message: Warning | str, *where: object) -> None:
        if (text := " ".join(str(message).split())) not in said:
            said.add(text)
            _tell(f"note: {text}")

    with warnings.catch_warnings():
        warnings.showwarning = note  # pyright: ignore[reportAttributeAccessIssue]
        yield


def _from_home(word: str) -> str:
    """A shell leaves the ~ of ``--html=~/page.html`` as it is, and no shell reads the command of ``--bench``."""
    option, equals, path = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{os.path.expanduser(path)}" if path.startswith("~/") else word


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
    asked = parser.parse_args(rest)
    if missing := [package for package in NEEDS.get(name, ()) if find_spec(package) is None]:
        raise UnusableError(not_installed(", ".join(missing)))
    return command.run(asked)


def _tell(text: str) -> None:
    """Print to stderr; where that cannot be written to, the exit code says the same."""
    with suppress(OSError):
        say(text, sys.stderr)


def _said(error: UnusableError | OSError) -> str:
    """An error as a user reads it."""
    if isinstance(error, BrokenPipeError):
        return "the output was closed before all was written"
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    return "\n".join(text.splitlines()[:MOST_LINES])


def not_installed(packages: str) -> str:
    """What to do about packages that are missing, in one line."""
    extras = "bench,study" if OF_STUDY.intersection(packages.split(", ")) else "bench"
    return f"not installed: {packages}; type pip install 'xaimed[{extras}]'"


def _missing_package(error: Exception) -> str | None:
    """The package of others that an import did not find; None for other errors, and for a part of an installed one."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    return None if name is None or "." in name or name.startswith("xaimed_") else name


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

        say(f"xaimed {__version__}")
        return USABLE
    if given and given[0] not in ("-h", "--help", "help"):
        raise UnusableError(f"no command {given[0]!r}; there are {', '.join(COMMANDS)}: see xaimed --help")
    say("usage: xaimed COMMAND [...]       xaimed COMMAND --help says more\n")
    for name, what in COMMANDS.items():
        say(f"  {name:<9} {what}")
    say("\nIn a checkout, pytest bench --benchmark-json=out.json or make bench measures known networks.")
    return USABLE

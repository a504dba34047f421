"""Files of the command line: which may be written, and how."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from xaimed_bench.cli.given.values import words
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.writing import resolved, write_whole

STDOUT = Path("-")


def file_named(text: str) -> Path:
    """The type of an option that names a file, which may be missing."""
    path = Path(words(text))
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; give the name of a file")
    if resolved(path).is_symlink():
        raise argparse.ArgumentTypeError(f"{path} is a link that leads to itself; give another name")
    return path


def file_to_write(text: str) -> Path:
    """The type of an option that names a file to write, or - for stdout. `write` makes its folder where missing."""
    path = file_named(text)
    if path == STDOUT:
        return path
    if path.exists() and not os.access(path, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} must not be written to; give another name")
    folder_to_write(str(path.parent))
    return path


def folder_to_write(text: str) -> Path:
    """The type of an option that names a folder to write into, which may be missing."""
    path = Path(words(text))
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is a file, not a folder; give another name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{there} must not be written to; give another folder")
    return path


def to_write(text: str) -> Path:
    """`file_to_write` of what argparse takes among other arguments. Raises UnusableError."""
    try:
        return file_to_write(text)
    except argparse.ArgumentTypeError as error:
        raise UnusableError(str(error)) from error


def keep_apart(read: Iterable[Path], written: Iterable[Path | None]) -> None:
    """Raise UnusableError where a file would be written over one that is read, or over another that is written."""
    taken = {resolved(path) for path in read}
    for path in written:
        if path is None or path == STDOUT:
            continue
        if resolved(path) in taken:
            raise UnusableError(f"{path} is given twice, and would be written over; give another name")
        taken.add(resolved(path))


def write(path: Path, text: str) -> None:
    """Write a text to stdout or, whole or not at all, to a file, whose folder is made."""
    if path == STDOUT:
        say(text)
        return
    write_whole(path, text)

"""What a user gives on the command line: read, and refused before anything is measured or written."""

from __future__ import annotations

import argparse
from typing import NoReturn, final

from xaimed_bench.cli.given.files import (
    STDOUT,
    file_named,
    file_to_write,
    folder_to_write,
    keep_apart,
    to_write,
    write,
)
from xaimed_bench.cli.given.values import count, rate, share, within, words
from xaimed_reports.store.jsonform import UnusableError

__all__ = [
    "STDOUT",
    "Parser",
    "count",
    "file_named",
    "file_to_write",
    "folder_to_write",
    "keep_apart",
    "rate",
    "share",
    "to_write",
    "within",
    "words",
    "write",
]


@final
class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line; the usage is for --help."""

    def error(self, message: str) -> NoReturn:
        """Raise UnusableError."""
        raise UnusableError(f"{message}; see {self.prog} --help")

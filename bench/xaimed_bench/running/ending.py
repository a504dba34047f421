"""How a run of `pytest bench` ends where it cannot begin, or cannot go on: in one line."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from xaimed_bench.running.declared import spelt
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError

UNUSABLE = 2
"""The exit code of what the user gave and cannot be used, as of every command of xaimed; pytest's own would be 4."""


@contextmanager
def usage(config: pytest.Config) -> Generator[None]:
    """What a user gave and cannot be used, or written to, ends the run in one line."""
    try:
        yield
    except UnusableError as error:
        raise pytest.UsageError(spelt(config, str(error))) from error
    except OSError as error:
        raise pytest.UsageError(f"{error.filename or 'the results'}: {error.strerror}") from error


@contextmanager
def kept(config: pytest.Config, journal: Path) -> Generator[None]:
    """Where the disk is full, end the run in one line."""
    try:
        yield
    except OSError as error:
        said = cannot_write(config, journal, error)
        say(f"\n{said}", sys.stderr)
        pytest.exit(said, returncode=UNUSABLE)


def cannot_write(config: pytest.Config, journal: Path, error: OSError) -> str:
    """What to say where the disk is full."""
    said = f"ERROR: {error.strerror}: the run ends here; --resume goes on with what {journal.name} holds"
    return spelt(config, said)

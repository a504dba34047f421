"""Print what a bug report needs to know about this machine: versions, devices, rights, limits."""

from __future__ import annotations

import argparse

from xaimed_reports.format import say


def arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(given: argparse.Namespace) -> int:
    """Print the diagnosis; 1 when something is in the way."""
    from xaimed_bench.doctor import doctor

    found = doctor()
    say(str(found))
    return 1 if found.problems else 0

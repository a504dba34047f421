"""Git in a checkout: which commit it is at, and any other command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from xaimed_reports.store.jsonform import UnusableError


class RevisionError(UnusableError):
    """A revision that cannot be checked out or measured; the message says which and why."""


def revision(root: Path) -> str | None:
    """The commit checked out in ``root``, with "+" for uncommitted changes; None outside a checkout."""
    try:
        commit = git(root, "rev-parse", "--short=12", "HEAD")
        changed = git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, RevisionError):
        return None
    return commit + ("+" if changed else "")


def git(root: Path, *arguments: str, dated: bool = False) -> str:
    """What a git command prints. ``dated``: what it commits bears one date, so that equal content is one commit.

    Raises RevisionError with git's last line where it fails.
    """
    dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2000-01-01T00:00:00Z") if dated else {}
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **dates},
    )
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["git failed"]
        raise RevisionError(f"git {' '.join(arguments[:2])}: {why[0]}")
    return done.stdout.strip()

"""Git in a checkout: which commit it is at, and any other command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from xaimed_reports.store.jsonform import UnusableError

_OF_ONE_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX")
"""What git sets while a hook runs: all that a folder says of itself would be said of that repository."""


class RevisionError(UnusableError):
    """A revision that cannot be checked out or measured; the message says which and why."""


def outside_hooks() -> dict[str, str]:
    """This process's environment, in which git finds the repository that a folder lies in."""
    return {name: value for name, value in os.environ.items() if name not in _OF_ONE_REPOSITORY}


def revision(root: Path) -> str | None:
    """The commit checked out in ``root``, with "+" for uncommitted changes; None outside a checkout."""
    try:
        commit = git(root, "rev-parse", "--short=12", "HEAD")
        changed = git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, RevisionError):
        return None
    return commit + ("+" if changed else "")


def commit_of(root: Path, name: str) -> str:
    """The full hash of a commit. Raises RevisionError where there is no repository, and where it holds no such one."""
    git(root, "rev-parse", "--git-dir")
    try:
        return git(root, "rev-parse", "--verify", f"{name}^{{commit}}")
    except RevisionError as error:
        raise RevisionError(
            f"no commit {name!r} here: name one that git log shows, or fetch it; "
            "a shallow clone lacks older ones (git fetch --unshallow)"
        ) from error


def git(root: Path, *arguments: str, dated: bool = False) -> str:
    """What a git command prints. ``dated``: what it commits bears one date, so that equal content is one commit.

    Raises RevisionError with git's last line where it fails.
    """
    dates = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2000-01-01T00:00:00Z") if dated else {}
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env={**outside_hooks(), **dates},
    )
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["git failed"]
        raise RevisionError(f"git {' '.join(arguments[:2])}: {why[0]}")
    return done.stdout.strip()

"""Two revisions of the code measured in alternating fresh processes: A B B A, the process being the unit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, final

from xaimed_reports.floor import floor_of, smallest_visible_effect, store_floor
from xaimed_reports.load import load
from xaimed_reports.records import Run

BENCH = ("bench/bench_cam.py",)


class RevisionError(Exception):
    """A revision that cannot be checked out or measured; the message says which and why."""


@final
class Alternation:
    """The work trees of both sides, as a context: they are removed at its end. ``runs``: processes a side.

    The new side is the checkout as it is, uncommitted changes of tracked files included. Both sides run with this
    process's interpreter, hence with one set of dependencies; only xaimed's own code comes from the work trees.
    """

    def __init__(self, checkout: Path, base: str, *, runs: int, keep: Path | None = None) -> None:
        self._checkout = checkout
        self._base = base
        self._runs = runs
        self._keep = keep
        self._folder = Path()
        self._trees: dict[str, Path] = {}

    def __enter__(self) -> Self:
        """Check both revisions out."""
        self._folder = Path(tempfile.mkdtemp(prefix="xaimed-compare-"))
        try:
            self._trees = {
                "base": self._tree("base", self._commit(self._base)),
                "new": self._tree("new", self._commit("HEAD", dirty=True)),
            }
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the work trees."""
        for tree in self._trees.values():
            _git(self._checkout, "worktree", "remove", "--force", str(tree))
        shutil.rmtree(self._folder, ignore_errors=True)

    def measure(self, only: str | None = None, keys: Sequence[str] = ()) -> tuple[list[Run], list[Run]]:
        """Run both sides in turns, rows in another order each time. ``only``: pytest's -k; ``keys``: these rows."""
        found: dict[str, list[Run]] = {"base": [], "new": []}
        began = time.perf_counter()
        sides = [
            side for i in range(self._runs) for side in (("base", "new") if i % 2 == 0 else ("new", "base"))
        ]
        for i, side in enumerate(sides):
            left_s = (time.perf_counter() - began) / max(1, i) * (len(sides) - i)
            said = f", about {left_s / 60:.0f} min left" if i else ""
            print(f"process {i + 1} of {len(sides)}: {side}{said}", flush=True)
            found[side].append(self._process(side, i, only, keys))
        return found["base"], found["new"]

    def repeat(self, count: int, only: str | None = None) -> list[Run]:
        """Run the new side alone ``count`` times."""
        runs: list[Run] = []
        for i in range(count):
            print(f"process {i + 1} of {count}", flush=True)
            runs.append(self._process("new", i, only, ()))
        return runs

    @property
    def runs(self) -> int:
        """Processes a side."""
        return self._runs

    def _process(self, side: str, index: int, only: str | None, keys: Sequence[str]) -> Run:
        tree = self._trees[side]
        stored = self._folder / f"{side}-{index}.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            *BENCH,
            "-q",
            "-p",
            "no:cacheprovider",
            f"--benchmark-json={stored}",
        ]
        command += ["--profile", "gate", "--shuffle", str(index)]
        command += ["-k", only] if only else []
        command += [word for key in keys for word in ("--only-case", key)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(tree / p) for p in (".", "kernels", "reports")),
        }
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        if not stored.exists():
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise RevisionError(f"the {side} side measured nothing (exit {done.returncode}):\n{tail}")
        if self._keep is not None:
            self._keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(stored, self._keep)
        return load(stored)

    def _commit(self, revision: str, *, dirty: bool = False) -> str:
        """The commit of a revision; with ``dirty``, one that also holds the uncommitted changes of tracked files."""
        stash = _git(self._checkout, "stash", "create") if dirty else ""
        return stash or _git(self._checkout, "rev-parse", "--verify", f"{revision}^{{commit}}")

    def _tree(self, name: str, commit: str) -> Path:
        tree = self._folder / name
        _git(self._checkout, "worktree", "add", "--detach", str(tree), commit)
        return tree


def measure_floor(sides: Alternation, path: Path, only: str | None) -> int:
    """Run the checkout against itself, print each row's floor and smallest visible effect, and store them."""
    floor = floor_of(sides.repeat(2 * sides.runs, only))
    for key, share in floor.single.items():
        visible = smallest_visible_effect(floor, key)
        print(
            f"{key}: single runs differ by {share:.1%}, sides of {sides.runs} processes by {floor.sides[key]:.1%}; "
        )
        print(f"    the smallest slow-down that is visible: {visible:.1%}")
    store_floor(floor, path)
    print(f"stored in {path}")
    return 0


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["git failed"]
        raise RevisionError(f"git {' '.join(arguments[:2])}: {why[0]}")
    return done.stdout.strip()

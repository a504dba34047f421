"""Two revisions of the code measured in alternating fresh processes: A B B A, the process being the unit."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, final

from xaimed_bench.measure.checkout import RevisionError, commit_of, git, outside_hooks
from xaimed_bench.progress import Steps
from xaimed_bench.running.declared import PREFIX
from xaimed_reports.compare.floor import floor_of, smallest_visible_effect, store_floor
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnreadableError
from xaimed_reports.store.load import load
from xaimed_reports.store.rows import Run

BENCH = "bench/bench_cam.py"
OWN = "xaimed bench"
"""How a command begins that takes the place of a file of benches."""
_IMPORTED_FROM = (".", "kernels", "reports", "bench")
"""Folders of a work tree whose packages come before those that are installed, of the user's checkout for instance."""
_INTERRUPTED = (2, 130)
"""Exit codes of pytest and of xaimed bench after Ctrl-C or SIGTERM, which leave a part of the rows."""


@final
class Alternation:
    """The work trees of both sides, as a context: they are removed at its end, also when a signal ends it.

    ``new``: the other revision; None is the checkout as it is, uncommitted changes of tracked files included.
    ``runs``: processes a side. ``keep``: where each finished process's results go at once; with ``resume``, those
    of the same commits that lie there already are not measured again. ``bench``: the file that both sides run, or a
    command that begins with `OWN`.
    ``within``: where the work trees are made; None is the system's folder for temporary files. Both sides run with
    this process's interpreter, hence with one set of dependencies; only xaimed's own code comes from the work trees.
    """

    def __init__(
        self,
        checkout: Path,
        base: str,
        new: str | None = None,
        *,
        runs: int,
        keep: Path,
        resume: bool = False,
        bench: str = BENCH,
        within: Path | None = None,
    ) -> None:
        self._checkout = checkout
        self._base, self._new = base, new
        self._bench = bench
        self._within = within
        self.runs = runs
        self._keep = keep.absolute()
        self._resume = resume
        self._commits: dict[str, str] = {}
        self._trees: dict[str, Path] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(signals_raise())
            folder = Path(tempfile.mkdtemp(prefix="xaimed-compare-", dir=self._within))
            opened.callback(self._remove, folder)
            new = self._commit(self._new or "HEAD", dirty=self._new is None)
            self._commits = {"base": self._commit(self._base), "new": new}
            for side, commit in self._commits.items():
                self._trees[side] = folder / side
                git(self._checkout, "worktree", "add", "--detach", str(folder / side), commit)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _remove(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(RevisionError):  # what went wrong before says why
            git(self._checkout, "worktree", "prune")

    def measure(
        self, only: str | None = None, keys: Sequence[str] = (), *, called: str = "first"
    ) -> tuple[list[Run], list[Run]]:
        """Run both sides in turns, rows in another order each time; ``called`` tells one such series from another.

        ``only``: rows that pytest's -k selects; ``keys``: just these rows.
        """
        turns = (("base", "new") if i % 2 == 0 else ("new", "base") for i in range(self.runs))
        sides = [side for turn in turns for side in turn]
        found = self._series(sides, called, only, keys)
        return [run for side, run in found if side == "base"], [run for side, run in found if side == "new"]

    def repeat(self, count: int, only: str | None = None) -> list[Run]:
        """Run the new side alone ``count`` times."""
        return [run for _, run in self._series(["new"] * count, "alike", only, ())]

    def _series(
        self, sides: Sequence[str], called: str, only: str | None, keys: Sequence[str]
    ) -> list[tuple[str, Run]]:
        places = [self._keep / f"{called}-{i:02}-{side}.json" for i, side in enumerate(sides)]
        found = {
            i: self._kept(place, side) for i, (place, side) in enumerate(zip(places, sides, strict=True))
        }
        missing = [i for i, run in found.items() if run is None]
        with Steps("process", len(missing)) as steps:
            for i in missing:
                steps.begin(sides[i])
                words = ("--shuffle", str(i), *_selection(only, keys))
                found[i] = gate_process(
                    self._trees[sides[i]], places[i], *words, name=sides[i], bench=self._bench
                )
        return [(side, run) for side, run in zip(sides, found.values(), strict=True) if run is not None]

    def _kept(self, stored: Path, side: str) -> Run | None:
        """What an interrupted series left of this process, where it measured the same commit."""
        if not self._resume or not stored.exists():
            return None
        try:
            run = load(stored)
        except UnreadableError as error:
            say(f"{stored.parent}: {error}; this process is measured again", sys.stderr)
            return None
        return run if run.revision and self._commits[side].startswith(run.revision) else None

    def _commit(self, revision: str, *, dirty: bool = False) -> str:
        """The commit of a revision; with ``dirty``, one that also holds the uncommitted changes of tracked files."""
        stash = git(self._checkout, "stash", "create", dated=True) if dirty else ""
        return stash or commit_of(self._checkout, revision)


def gate_process(tree: Path, stored: Path, *words: str, name: str, bench: str = BENCH) -> Run:
    """Run the gate profile of the checkout ``tree`` in a fresh process, which writes ``stored``.

    ``bench``: a file of it, or a command that begins with `OWN`; ``words``: further arguments of pytest, options of
    benches by their short names. What the checkout does not hold, xaimed itself for instance, comes from where this
    process has it. Raises RevisionError, in which ``name`` stands for the tree, when nothing was measured.
    """
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.unlink(missing_ok=True)
    src = ["src"] if (tree / "src").is_dir() else []
    paths = os.pathsep.join(
        [*(str(tree / p) for p in (*_IMPORTED_FROM, *src)), os.environ.get("PYTHONPATH", "")]
    ).rstrip(os.pathsep)
    try:
        done = subprocess.run(
            _command(tree, stored, bench, ["--profile", "gate", *words]),
            cwd=tree,
            env={**outside_hooks(), "PYTHONPATH": paths},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except BaseException:  # Ctrl-C ends that process too, which then stores the rows it has
        stored.unlink(missing_ok=True)
        raise
    if done.returncode in _INTERRUPTED:
        stored.unlink(missing_ok=True)
    if not stored.exists() or not stored.stat().st_size:
        log = stored.with_suffix(".log")
        log.write_text(done.stdout + done.stderr, encoding="utf-8")
        last = "".join((done.stdout + done.stderr).strip().splitlines()[-1:]) or "nothing"
        raise RevisionError(
            f"the {name} side measured nothing (exit code {done.returncode});\n"
            f"its output is in {log} and ends: {last}"
        )
    return load(stored)


def _command(tree: Path, stored: Path, bench: str, options: Sequence[str]) -> list[str]:
    """What is run in the tree to write ``stored``."""
    if is_command(bench):
        own_words = shlex.split(bench)[2:]
        return [sys.executable, "-m", "xaimed_bench", "bench", *own_words, "--json", str(stored), *options]
    # xaimed's own tree brings its plugin, or is older and needs none: what is installed must not come between
    own = (tree / "xaimed_core").is_dir()
    plugins = ("no:cacheprovider", "no:xaimed", *(() if own else ("xaimed_bench.running.plugin",)))
    command = [sys.executable, "-m", "pytest", bench, "-q", *(f"-p{name}" for name in plugins)]
    if not own:
        options = [PREFIX + word[2:] if word.startswith("--") else word for word in options]
    return [*command, f"--benchmark-json={stored}", *options]


def is_command(bench: str) -> bool:
    """Whether that is a command instead of a file."""
    return bench.split()[:2] == OWN.split()


@contextmanager
def signals_raise() -> Generator[None]:
    """SIGTERM and SIGHUP end the program as an exception does, so that what was begun is undone; once."""
    numbers = (signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def measure_floor(sides: Alternation, path: Path, only: str | None) -> int:
    """Run the checkout against itself, print each row's floor and smallest visible effect, and store them.

    3, and nothing is stored, where every row was disturbed; else 0.
    """
    runs = sides.repeat(2 * sides.runs, only)
    floor = floor_of(runs)
    if not floor.spread:
        say("no floor: something disturbed the machine in every row; measure on a quiet one")
        return 3
    store_floor(floor, path, processes=sides.runs)
    for key in floor.spread:
        for words, count in (("two runs", 1), (f"sides of {sides.runs} processes", sides.runs)):
            differ = floor.differ(key, processes=count)
            visible = smallest_visible_effect(floor, key, processes=count)
            say(
                f"{key}, {words}: equal code differs by {differ:.1%}, a slow-down is visible from {visible:.1%}"
            )
    say(f"stored in {path}")
    return 0


def _selection(only: str | None, keys: Sequence[str]) -> list[str]:
    return [*(["-k", only] if only else []), *(word for key in keys for word in ("--only-case", key))]

"""A search for the commit that made a row worse: what it is, what it found so far, and how a commit is tried."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from xaimed_bench.measure.checkout import RevisionError, commit_of, git
from xaimed_bench.running.alternate import Alternation
from xaimed_reports.compare.compare import DECIDED, FAILING, Comparison, compare
from xaimed_reports.compare.floor import load_floor
from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.store.jsonform import UnreadableError, UnusableError, from_json, read_object, to_json
from xaimed_reports.store.writing import write_whole

GOOD, BAD, SKIP, STOP = 0, 1, 125, 128
"""What `git bisect run` reads in a step's exit code."""


@final
@dataclass(frozen=True)
class Tried:
    """What a commit showed beside the good one."""

    commit: str
    subject: str
    """The first line of its message."""
    verdict: Verdict
    """"skipped" where it could not be measured."""
    why: str
    ratio: float | None = None
    """Its time over the good commit's, with the interval of 95 %; None where no time was judged."""
    low: float | None = None
    high: float | None = None


@final
@dataclass(frozen=True)
class Search:
    """Kept in a file after each step, so that a search goes on after a kill."""

    good: str
    bad: str
    key: str
    """Of the row, e.g. ``explaining[xgradcam-resnet18-last-4-fp32-128]``."""
    bench: str
    """The file that measures it, within the repository, or a command `xaimed bench ...`."""
    runs: int
    """Processes a side."""
    floor_file: str
    scratch: str
    """Where work trees are while it runs."""
    looks_for: Verdict | None = None
    """What is wrong with the bad commit; None before both ends were compared."""
    tried: tuple[Tried, ...] = ()
    """The bad end first, then in the order in which git asked."""
    suspects: tuple[str, ...] = ()
    """The commit found; several where all that lie between could not be judged; none while it runs."""

    def of(self, commit: str) -> Tried | None:
        """What a commit showed, if it was tried."""
        return next((each for each in self.tried if each.commit == commit), None)

    def answer(self, tried: Tried) -> int:
        """The answer to git, which asks about a commit."""
        if tried.verdict == self.looks_for:
            return BAD
        # where time is not what is looked for, a row that has a result is good, however noisy its time
        decided = (*DECIDED, "unknown") if self.looks_for != "slower" else DECIDED
        return GOOD if tried.verdict in decided else SKIP


def begun(checkout: Path, good: str, bad: str, **settings: str | int) -> Search:
    """A new search. Raises UnusableError where the two commits cannot be the ends of one."""
    first, last = (commit_of(checkout, name) for name in (good, bad))
    if first == last:
        raise UnusableError(f"{good} and {bad} are the same commit: give two")
    try:
        git(checkout, "merge-base", "--is-ancestor", first, last)
    except RevisionError as error:
        raise UnusableError(
            f"{good} is not an ancestor of {bad}: give the older, good commit first"
        ) from error
    changed = git(checkout, "status", "--porcelain", "--untracked-files=no")
    if changed and last == git(checkout, "rev-parse", "HEAD"):
        raise UnusableError(
            "the checkout holds changes that are not committed, so that no search could name them: commit or stash them"
        )
    return from_json(Search, {"good": first, "bad": last, "scratch": "", **settings})


def load(folder: Path) -> Search:
    """The search that goes on in a folder. Raises UnusableError where none does."""
    path = folder / "search.json"
    if not path.exists():
        raise UnusableError(
            f"no search was cut short in {folder}; begin one: xaimed bisect GOOD BAD --only KEY"
        )
    try:
        return from_json(Search, read_object(path), path.name)
    except UnreadableError as error:
        raise UnusableError(f"{error}; remove {path} to forget that search") from error


def save(search: Search, folder: Path) -> Search:
    """Keep a search in its folder."""
    write_whole(folder / "search.json", json.dumps(to_json(search), indent=1))
    return search


def end(search: Search, folder: Path) -> Search:
    """Keep what a search found as found.json; there is nothing to go on with."""
    save(search, folder)
    (folder / "search.json").replace(folder / "found.json")
    return search


def attempt(checkout: Path, folder: Path, search: Search, commit: str) -> tuple[Search, Tried]:
    """Measure a commit beside the good one in alternating processes, or take what was found, and keep it.

    Raises UnusableError where the bad end cannot be measured; another commit is then skipped.
    """
    if (known := search.of(commit)) is not None:
        return search, known
    subject = git(checkout, "log", "-1", "--format=%s", commit)
    sides = Alternation(
        checkout,
        search.good,
        commit,
        runs=search.runs,
        keep=folder / "runs" / commit[:12],
        resume=True,
        bench=search.bench,
        within=Path(search.scratch),
    )
    try:
        with sides:
            base, new = sides.measure(keys=(search.key,))
    except UnusableError as error:
        if commit == search.bad:
            raise
        tried = Tried(commit, subject, "skipped", str(error).replace("\n", " "))
    else:
        floor = load_floor(Path(search.floor_file), new[0].machine)
        fail_on = FAILING if search.looks_for is None else frozenset((search.looks_for,))
        tried = _tried(commit, subject, search.key, compare(base, new, floor=floor, fail_on=fail_on))
    return save(replace(search, tried=(*search.tried, tried)), folder), tried


def with_scratch(search: Search, folder: Path) -> Search:
    """The search with an empty place for its work trees, kept before anything lies there."""
    return save(replace(search, scratch=tempfile.mkdtemp(prefix="xaimed-bisect-")), folder)


def _tried(commit: str, subject: str, key: str, found: Comparison) -> Tried:
    """What failed, else how the time was judged."""
    here = [judgement for judgement in found.judgements if judgement.key == key]
    if not here:
        return Tried(commit, subject, "skipped", "it has no such row")
    said = min(here, key=lambda judgement: (judgement.verdict not in found.fail_on, judgement.what != "time"))
    change = said.change
    numbers = () if change is None else (change.ratio, change.low, change.high)
    return Tried(commit, subject, said.verdict, said.why, *numbers)

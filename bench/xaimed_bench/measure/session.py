"""A whole run: measures each case once, keeps its rows, writes the journal, and shares out the time."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaimed_bench.measure.case import Question, measure_case, unmeasured
from xaimed_bench.measure.checkout import revision
from xaimed_bench.measure.machine import machine_facts
from xaimed_bench.measure.plan import OutOfTimeError, Plan
from xaimed_bench.progress import Steps
from xaimed_reports.store.journal import FORMAT, Journal, Recovered, recover
from xaimed_reports.store.jsonform import UnreadableError, UnusableError, read_text
from xaimed_reports.store.records import OURS, Case
from xaimed_reports.store.rows import Row, Run, Timed, Untimed

MOST_TRIES = 2
"""A case during which the process was killed may be innocent (memory ran out, a machine went away), but only once."""
PICTURE_PIXELS = 112
"""The longer side of a kept picture: enough to see a map, small enough to send."""


def new_run(device: torch.device, *, profile: str, images_from: str, root: Path) -> Run:
    """The head of a run that begins now. ``root``: the checkout whose commit is measured."""
    return Run(
        machine=machine_facts(device),
        profile=profile,
        images_from=images_from,
        revision=revision(root),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=0.0,
        rows=(),
    )


def what_finished(journal: Path, head: Run) -> Recovered | None:
    """What an unfinished run left; None without a journal. Raises UnusableError when it measured something else."""
    if not journal.exists() or not journal.stat().st_size:
        return None
    try:
        found = recover(read_text(journal))
    except UnreadableError as error:
        raise UnusableError(f"{journal.name}: {error}; run without --resume to begin anew") from error
    others = [
        name
        for name in ("machine", "profile", "images_from", "revision")
        if getattr(found.run, name) != getattr(head, name)
    ]
    if others or found.format != FORMAT:
        what = f"another {others[0]}" if others else "the format of an earlier xaimed"
        raise UnusableError(f"{journal.name} has {what}; run without --resume to begin anew")
    return found


@final
class Session:
    """Measures questions one after another.

    :param expected: how many cases are to come.
    :param prefix: what stands before the name of an option, as whoever reads of it would type it.
    """

    def __init__(
        self,
        head: Run,
        plan: Plan | None,
        device: torch.device,
        *,
        expected: int,
        journal: Journal | None = None,
        recovered: Recovered | None = None,
        cold: bool = False,
        prefix: str = "--",
    ) -> None:
        self.device = device
        self._head = head
        self._plan = plan
        self._cold = cold
        self._prefix = prefix
        self._expected = expected
        cases = expected - len({row.case.key for row in recovered.run.rows} if recovered is not None else ())
        self._steps = Steps("case", max(1, cases), shown=False)
        self._journal = journal
        self.pictures: dict[str, NDArray[np.uint8]] = {}
        self._began_s = time.perf_counter()
        self._until_s = (
            self._began_s + plan.total_s if plan and plan.total_s is not None and plan.ends else math.inf
        )
        self._beside_s: list[float] = []
        self._rows: dict[str, tuple[Row, ...]] = {}
        self._left_out: set[str] = set()
        self._killed = recovered.killed if recovered is not None else {}
        self._recovered = _by_case(recovered.run.rows if recovered is not None else ())
        if journal is not None and recovered is not None:
            journal.go_on(recovered)
        elif journal is not None:
            journal.start(head)

    def knows(self, key: str) -> bool:
        """Whether this case needs no measuring any more."""
        return key in self._rows or key in self._recovered

    def recover(self, key: str) -> bool:
        """Take the rows of a case that an unfinished run left; whether there were any."""
        if key in self._recovered:
            self._rows[key] = self._recovered[key]
        return key in self._recovered

    def rows(self, question: Question) -> dict[str, Row]:
        """The rows of one case by implementation: measured at the first call, the same ones ever after."""
        key = question.case.key
        if key not in self._rows:
            self._rows[key] = self._recovered.get(key) or self._measure(question)
        return {row.impl: row for row in self._rows[key]}

    def _measure(self, question: Question) -> tuple[Row, ...]:
        key, journal = question.case.key, self._journal
        if journal is not None:
            journal.begin(key)
        try:
            rows = self._measure_now(question)
            if journal is not None:
                for row in rows:
                    journal.add(row)
        except (KeyboardInterrupt, OutOfTimeError) as end:
            if journal is not None:
                journal.interrupt(key)  # a resumed run measures it
            if isinstance(end, KeyboardInterrupt):
                raise
            self._left_out.add(key)
            return unmeasured(question, "skipped", self._no_time())
        if journal is not None:
            journal.end(key)
        return rows

    def _measure_now(self, question: Question) -> tuple[Row, ...]:
        if self._killed.get(question.case.key, 0) >= MOST_TRIES:
            return unmeasured(
                question,
                "failed",
                f"the process ended {MOST_TRIES} times during this case; it is not tried again",
            )
        began_s = time.perf_counter()
        rows: tuple[Row, ...] = ()
        try:
            rows = measure_case(question, self._share(), self.device, cold=self._cold)
        finally:  # what a case took that did not fit in the end, another will take as well
            self._beside_s.append(time.perf_counter() - began_s - _timed_s(rows))
        return rows

    def fits(self) -> bool:
        """Whether there is time for another case like those so far."""
        return time.perf_counter() + (median(self._beside_s) if self._beside_s else 0.0) < self._until_s

    def leave_out(self, case: Case) -> None:
        """Let the row of a case say that there was no time for it; the journal does not hold it."""
        left = Untimed(case=case, impl=OURS, what="xaimed", status="skipped", reason=self._no_time())
        self._rows[case.key] = (left,)
        self._left_out.add(case.key)

    def left_out(self, key: str) -> str | None:
        """Why there was no time for a case; None where there was, or it is still to come."""
        return self._no_time() if key in self._left_out else None

    def counted(self) -> str:
        """How many cases were measured, and why the others were not; the last line of a run."""
        done = [key for key in self._rows if self.left_out(key) is None]
        left = self._expected - len(done)
        why = f"; {left} were not" if left else ""
        why += f": {self._no_time()}" if len(self._rows) > len(done) else ""
        return f"measured {len(done)} of {self._expected} cases{why}"

    def _no_time(self) -> str:
        total_s = self._plan.total_s if self._plan is not None else None
        before = self._prefix
        return f"no time left: {before}resume measures it, or a {before}budget above {total_s:.0f} seconds"

    def _share(self) -> Plan | None:
        """The plan of the next case: with a limit on the whole run, no more than its equal share of what is left.

        The first case is measured in any case, so that a run on a machine however slow says something, and each
        resumed run goes further.
        Of that share, what cases so far took beside their timed calls (checks, warm-up, memory) is not for timing.
        """
        if self._plan is None or self._plan.total_s is None:
            return self._plan
        left_s = max(0.0, self._plan.total_s - (time.perf_counter() - self._began_s))
        share_s = left_s / max(1, self._expected - len(self._rows.keys() | self._recovered.keys()))
        beside_s = fmean(self._beside_s) if self._beside_s else share_s / 2
        return dataclasses.replace(
            self._plan,
            budget_s=min(self._plan.budget_s, max(share_s / 2, share_s - beside_s)),
            warm_up_s=min(self._plan.warm_up_s, share_s / 8),
            until_s=self._until_s,
            in_any_case=not self._beside_s,
        )

    def keep(self, key: str, pictures: Mapping[str, Tensor]) -> None:
        """Keep small pictures ``[h, w]`` or ``[h, w, 3]`` in [0, 1] of a case, as bytes."""
        for name, picture in pictures.items():
            step = max(1, max(picture.shape[:2]) // PICTURE_PIXELS)
            shown = picture[::step, ::step].detach().float().nan_to_num().clamp(0, 1)
            self.pictures[f"{key}/{name}"] = (shown * 255).round().byte().cpu().numpy()

    def begin(self, key: str) -> str:
        """Where the run stands as this case begins, e.g. "case 3 of 20: KEY, 0:02:10 left at most"."""
        return self._steps.begin(key, most_s=self._until_s - time.perf_counter())

    def run(self) -> Run:
        rows = tuple(row for rows in self._rows.values() for row in rows)
        return dataclasses.replace(self._head, rows=rows, seconds=time.perf_counter() - self._began_s)


def _timed_s(rows: tuple[Row, ...]) -> float:
    """Seconds spent in the timed calls of one case."""
    found = [row for row in rows if isinstance(row, Timed)]
    forward = [row.forward for row in found[:1] if row.forward is not None]
    return sum(sum(timing.wall_s) for timing in (*(row.timing for row in found), *forward))


def _by_case(rows: tuple[Row, ...]) -> dict[str, tuple[Row, ...]]:
    found: dict[str, tuple[Row, ...]] = {}
    for row in rows:
        found[row.case.key] = (*found.get(row.case.key, ()), row)
    return found

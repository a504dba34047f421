"""What records of older schemas say in words, put into today's fields."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from xaimed_reports.store.ran import Ran
from xaimed_reports.store.records import Run

_POOLED = re.compile("the layer is only pooled, so that (.+) give the same map")


def upgraded(run: Run) -> Run:
    """A run in which rows say what ran; before schema 3 their notes held it as a sentence."""
    if run.schema >= 3:
        return run
    return replace(run, rows=tuple(replace(row, ran=_ran(row.notes)) for row in run.rows))


def _ran(notes: Iterable[str]) -> Ran | None:
    for note in notes:
        pooled = _POOLED.search(note)
        if pooled is not None:
            return Ran("one pass", tuple(pooled[1].split(" and ")))
        if ": closed-form: " in note:
            return Ran("closed-form")
    return None

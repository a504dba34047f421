"""An evaluation from the options to the report."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import distributed

from xaimed_bench.data.sets import ImageSet
from xaimed_bench.measure.machine import machine_facts
from xaimed_bench.study.evaluate import costs
from xaimed_bench.study.evaluate.maps import maps_per_image
from xaimed_bench.study.evaluate.overlays import overlays
from xaimed_bench.study.evaluate.prepare import Asked, prepare
from xaimed_bench.study.evaluate.run import run
from xaimed_bench.study.evaluate.scores import forwards_per_map
from xaimed_bench.study.evaluate.settings import keep_settings
from xaimed_bench.study.evaluate.shards import missing, notes
from xaimed_bench.study.evaluate.summary import summarise
from xaimed_bench.study.evaluate.thresholds import keep_thresholds, load_thresholds
from xaimed_bench.study.evaluate.work import Work, first_images
from xaimed_bench.study.train.team import Team, team_on
from xaimed_reports.format import say
from xaimed_reports.store.devices import device_name
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.writing import alone_in, write_whole
from xaimed_reports.study.evaluation import Evaluation, store
from xaimed_reports.study.report import report_markdown, report_page
from xaimed_reports.study.words import findings

T = TypeVar("T")

_FEW = 10
"""Notes printed; all are written."""


def evaluate(asked: Asked, device: torch.device) -> None:
    """Evaluate, or go on, and write rows, summary and report into ``asked.out``.

    Raises UnusableError for what cannot be used, OSError where ``out`` cannot be written.
    """
    with team_on(device) as team:
        work, images = _together(team, lambda: prepare(asked, team), lambda found: found[0].settings)
        with alone_in(asked.out) if team.leads else nullcontext():
            _together(team, lambda: _begin(asked, work, images))
            run(work, asked.out)
            team.wait()
            if team.leads:
                _finish(asked, work, images)


def _together(team: Team, do: Callable[[], T], seen: Callable[[T], object] = lambda _: None) -> T:
    """What ``do`` gives here, once all processes have it and have ``seen`` the same in it.

    Raises in all of them the UnusableError of one.
    """
    try:
        found, error = do(), ""
    except UnusableError as raised:
        if team.size == 1:
            raise
        found, error = None, str(raised)
    if team.size > 1:
        each: list[Any] = [None] * team.size
        distributed.all_gather_object(each, (None if found is None else seen(found), error))
        if said := [text for _, text in each if text]:
            raise UnusableError(said[0])
        if any(other != each[0] for other in each):
            raise UnusableError(
                "the processes see other images, weights or versions; give all of them the same"
            )
    return cast("T", found)


def _begin(asked: Asked, work: Work, images: ImageSet) -> None:
    """Keep the settings, find thresholds, say how much there is to do; the first process alone."""
    if not work.team.leads:
        return
    settings = work.settings
    keep_settings(asked.out, settings, resume=asked.resume)
    validation = (
        images.split("validation") if settings.split == "testing" and "iou" in settings.metrics else ()
    )
    keep_thresholds(work, validation, asked.out)
    count = maps_per_image(settings.methods, settings.layers.values())
    each = count * forwards_per_map(settings)
    say(
        f"{settings.count} images of {settings.data} ({settings.split}), {count} maps each, {each:,} forwards of "
        f"perturbed images each; {len(missing(asked.out, work.batches))} of {work.batches} batches to do"
    )


def _finish(asked: Asked, work: Work, images: ImageSet) -> None:
    """Summary, report and pictures, once all rows are there."""
    out = asked.out
    if lost := missing(out, work.batches):
        raise UnusableError(
            f"{len(lost)} batches are missing in {out}; do all processes write to one folder?"
        )
    _show_notes(out)
    say("summing up and timing the methods")
    found = _summary(out, work, images)
    write_whole(out / "summary.json", store(found))
    pictures = [] if asked.no_images else overlays(work, out)
    markdown = report_markdown(found, [(caption, name) for caption, name, _ in pictures])
    page = report_page(found, [(caption, address) for caption, _, address in pictures])
    write_whole(out / "report.md", markdown)
    write_whole(out / "report.html", page)
    say("\n".join(findings(found)))
    say(f"\nReport: {out / 'report.html'}; rows: {out / 'rows'}")


def _show_notes(out: Path) -> None:
    said = notes(out)
    for note in said[:_FEW]:
        say(f"{note['image']}: {note['what']}")
    if len(said) > _FEW:
        say(f"... and {len(said) - _FEW} more notes, in {out / 'notes.json'}")
        write_whole(out / "notes.json", json.dumps(said, indent=1))


def _summary(out: Path, work: Work, images: ImageSet) -> Evaluation:
    near = frozenset(leak.name for leak in images.leaks if leak.way == "near")
    found = summarise(out, frozenset(leak.name for leak in images.leaks) - near, near)
    settings, first = work.settings, first_images(work)
    return replace(
        found,
        costs=costs.costs(work.model, first, settings.layers, settings.methods) if len(first) else (),
        threshold=load_thresholds(out)[1],
        negative=costs.negative(work.model, first, settings.layers) if len(first) else {},
        machine=device_name(machine_facts(work.team.device)),
        command=" ".join(["xaimed", *(shlex.quote(Path(w).name if "/" in w else w) for w in sys.argv[1:])]),
    )

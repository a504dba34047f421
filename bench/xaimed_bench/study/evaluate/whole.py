"""An evaluation from the options to the report."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from xaimed_bench.data.sets import ImageSet
from xaimed_bench.device import device_named
from xaimed_bench.measure.machine import machine_facts
from xaimed_bench.study.evaluate import costs
from xaimed_bench.study.evaluate.maps import maps_per_image
from xaimed_bench.study.evaluate.overlays import overlays
from xaimed_bench.study.evaluate.prepare import Asked, prepare
from xaimed_bench.study.evaluate.processes import agree, local_rank, processes, wait
from xaimed_bench.study.evaluate.run import Work, first_images, run
from xaimed_bench.study.evaluate.scores import forwards_per_map
from xaimed_bench.study.evaluate.settings import keep_settings
from xaimed_bench.study.evaluate.shards import Process, missing, notes, owned
from xaimed_bench.study.evaluate.summary import summarise
from xaimed_bench.tensor_files import write_whole
from xaimed_reports.store.devices import device_name
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.study.evaluation import Evaluation, store
from xaimed_reports.study.report import report_markdown, report_page
from xaimed_reports.study.words import findings

T = TypeVar("T")

_FEW = 10
"""Notes printed; all are written."""


def evaluate(asked: Asked, device: torch.device, *, own_device: bool) -> None:
    """Evaluate, or go on, and write rows, summary and report into ``asked.out``.

    ``own_device``: whether each of several processes takes the GPU of its own number instead of ``device``.
    Raises UnusableError for what cannot be used, OSError where ``out`` cannot be written.
    """
    on_cuda = device.type == "cuda"
    with processes(on_cuda) as process:
        if on_cuda and process.world > 1 and own_device:
            device = device_named(f"cuda:{local_rank()}")
        work, images = _together(
            process, lambda: prepare(asked, device, process), lambda found: found[0].settings
        )
        with owned(asked.out, process):
            _together(process, lambda: _begin(asked, work))
            run(work, asked.out)
            wait(process)
            if process.rank == 0:
                _finish(asked, work, images)


def _together(process: Process, do: Callable[[], T], seen: Callable[[T], object] = lambda _: None) -> T:
    """What ``do`` gives in this process, once all have it. Raises in all what it raises in one (UnusableError)."""
    try:
        found = do()
    except UnusableError as error:
        agree(process, None, error)
        raise
    agree(process, seen(found), None)
    return found


def _begin(asked: Asked, work: Work) -> None:
    """Keep the settings and say how much there is to do; the first process alone."""
    if work.process.rank:
        return
    settings = work.settings
    keep_settings(asked.out, settings, resume=asked.resume)
    count = maps_per_image(settings.methods, len(settings.layers))
    each = count * forwards_per_map(settings)
    print(
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
    print("summing up and timing the methods")
    found = _summary(out, work, images)
    write_whole(store(found).encode(), out / "summary.json")
    pictures = [] if asked.no_images else overlays(work, out)
    markdown = report_markdown(found, [(caption, name) for caption, name, _ in pictures])
    page = report_page(found, [(caption, address) for caption, _, address in pictures])
    write_whole(f"{markdown}\n".encode(), out / "report.md")
    write_whole(page.encode(), out / "report.html")
    print("\n".join(findings(found)))
    print(f"\nReport: {out / 'report.html'}; rows: {out / 'rows'}")


def _show_notes(out: Path) -> None:
    said = notes(out)
    for note in said[:_FEW]:
        print(f"{note['image']}: {note['what']}")
    if len(said) > _FEW:
        print(f"... and {len(said) - _FEW} more notes, in {out / 'notes.json'}")
        write_whole(json.dumps(said, indent=1).encode(), out / "notes.json")


def _summary(out: Path, work: Work, images: ImageSet) -> Evaluation:
    near = frozenset(leak.name for leak in images.leaks if leak.way == "near")
    found = summarise(out, frozenset(leak.name for leak in images.leaks) - near, near)
    settings, first = work.settings, first_images(work)
    return replace(
        found,
        costs=costs.costs(work.model, first, settings.layers, settings.methods) if len(first) else (),
        negative=costs.negative(work.model, first, settings.layers) if len(first) else {},
        machine=device_name(machine_facts(work.device)),
        command=" ".join(["xaimed", *(shlex.quote(Path(w).name if "/" in w else w) for w in sys.argv[1:])]),
    )

"""Go through the images batch by batch; a batch's rows are written when it is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xaimed_bench.data.stream import Batch, Unreadable, stream
from xaimed_bench.progress import Steps
from xaimed_bench.study.evaluate.costs import Pace
from xaimed_bench.study.evaluate.maps import NO_LAYER, explain_batch
from xaimed_bench.study.evaluate.scores import locate_batch, score_batch
from xaimed_bench.study.evaluate.shards import COLUMNS, missing, store
from xaimed_bench.study.evaluate.thresholds import Thresholds, load_thresholds
from xaimed_bench.study.evaluate.work import Work
from xaimed_reports.store.jsonform import UnusableError

NETWORK, CORRECT = "network", "correct"
"""The method and the metric of the one row that says whether the network is right."""


def run(work: Work, folder: Path) -> None:
    """Do the batches that are missing, this process its share of them. A kill loses the batch in progress.

    Batch k holds the same images whoever does it and whenever, and its noise is its own: so any number of processes,
    stopped and resumed, write the same rows. Raises UnusableError for a network or layer that cannot be explained.
    """
    thresholds, _ = load_thresholds(folder)
    left = missing(folder, work.batches)[work.team.rank :: work.team.size]
    work.team.wait()  # until all have looked, for the first batch written changes what there is to see
    size = work.settings.batch
    order = [i for k in left for i in range(k * size, min((k + 1) * size, len(work.items)))]
    said: defaultdict[int, list[dict[str, str]]] = defaultdict(list)
    number = {item.name: i for i, item in enumerate(work.items)}

    def note(found: Unreadable) -> None:
        said[number[found.name] // size].append({"image": found.name, "what": found.why})

    read = stream(
        work.items, work.settings.classes, size=work.settings.size, normalisation=work.normalisation, batch=size,
        workers=work.workers, order=order, on_unreadable=note, on_remark=note,
    )  # fmt: skip
    undone = dict.fromkeys(left)
    with Steps("batch", len(left), short=True, shown=work.team.leads) as steps:
        for batch in read:
            k = int(batch.index[0]) // size
            steps.begin(f"{work.settings.network}, {batch.names[0]}")
            images = batch.images.to(work.team.device)
            pace = Pace(work.model, images, work.settings, k)
            columns = _columns(work, k, batch, images, thresholds, pace)
            store(folder, k, columns, said.pop(k, []), pace.found)
            undone.pop(k)
    for k in undone:  # not one of its images could be read
        store(folder, k, {}, said.pop(k, []))


def _columns(
    work: Work, k: int, batch: Batch, images: Tensor, thresholds: Thresholds, pace: Pace
) -> Mapping[str, Sequence[Any]]:
    asked, lesion = work.settings, batch.lesion.to(images.device)
    seed = asked.seed + k
    try:
        explained = pace.of(
            "maps", lambda: explain_batch(work.model, images, asked.layers, asked.methods, seed=seed)
        )
        values = pace.of("faithfulness", lambda: score_batch(work.model, images, explained, asked, seed=seed))
    except ValueError as error:  # of the library, and of the network and its layers
        raise UnusableError(
            f"{asked.network} on {batch.names[0]} and {len(images) - 1} more: {error}"
        ) from error
    located = pace.of(
        "localisation",
        lambda: locate_batch(explained, lesion, batch.has_lesion, asked, thresholds),
    )
    for key, found in located.items():
        values[key].update(found)
    confidence, top = explained.logits.float().softmax(1).max(1)
    groups = [work.items[i].group for i in batch.index.tolist()]
    return _rows(batch, groups, asked.classes, top.cpu(), confidence.cpu(), values)


def _rows(
    batch: Batch,
    groups: Sequence[str | None],
    classes: Sequence[str],
    top: Tensor,
    confidence: Tensor,
    values: Mapping[tuple[str, str], Mapping[str, Tensor]],
) -> Mapping[str, Sequence[Any]]:
    """One row for each value that is a number, and for each image whether its top class is its label."""
    right = (top == batch.labels).float().masked_fill(batch.labels < 0, torch.nan)
    about = [
        (
            name,
            group,
            classes[label] if label >= 0 else None,
            classes[predicted],
            predicted == label if label >= 0 else None,
            sure,
        )
        for name, group, label, predicted, sure in zip(
            batch.names, groups, batch.labels.tolist(), top.tolist(), confidence.tolist(), strict=True
        )
    ]
    rows = [
        (*about[i], layer, method, metric, value)
        for (layer, method), by_metric in {(NO_LAYER, NETWORK): {CORRECT: right}, **values}.items()
        for metric, per_image in by_metric.items()
        for i, value in enumerate(per_image.float().cpu().tolist())
        if value == value
    ]
    return dict(zip(COLUMNS.names, zip(*rows, strict=True), strict=False))

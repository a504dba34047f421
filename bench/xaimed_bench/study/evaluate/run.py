"""Go through the images batch by batch; a batch's rows are written when it is done."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from xaimed_bench.data import Normalisation
from xaimed_bench.data.sets import Item
from xaimed_bench.data.stream import Batch, Unreadable, stream
from xaimed_bench.progress import Steps
from xaimed_bench.study.evaluate.maps import NO_LAYER, explain_batch
from xaimed_bench.study.evaluate.scores import locate_batch, score_batch
from xaimed_bench.study.evaluate.settings import Settings
from xaimed_bench.study.evaluate.shards import Process, missing, store
from xaimed_reports.store.jsonform import UnusableError

NETWORK, CORRECT = "network", "correct"
"""The method and the metric of the one row that says whether the network is right."""


@final
@dataclass(frozen=True)
class Work:
    """What is evaluated, on which device, and by which share of the processes."""

    model: nn.Module
    normalisation: Normalisation
    items: Sequence[Item]
    settings: Settings
    device: torch.device
    workers: int = 0
    process: Process = field(default_factory=Process)

    @property
    def batches(self) -> int:
        """How many."""
        return -(-len(self.items) // self.settings.batch)


def run(work: Work, folder: Path, begun: Callable[[int], None] = lambda _: None) -> None:
    """Do the batches that are missing, this process every ``world``-th of them. A kill loses the batch in progress.

    Batch k holds the same images whoever does it and whenever, and its noise is its own: so any number of processes,
    stopped and resumed, write the same rows. ``begun(k)`` is called before each batch.
    """
    left = missing(folder, work.batches)[work.process.rank :: work.process.world]
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
    with Steps("batch", len(left), every_s=30.0, shown=work.process.rank == 0) as steps:
        for batch in read:
            k = int(batch.index[0]) // size
            begun(k)
            steps.begin(f"{work.settings.network}, {batch.names[0]}")
            store(folder, k, _columns(work, k, batch), said.pop(k, []))
            undone.pop(k)
    for k in undone:  # not one of its images could be read
        store(folder, k, {}, said.pop(k, []))


def first_images(work: Work) -> Tensor:
    """The first batch of which an image can be read, on the device, to time methods with; empty without any."""
    batch = next(read_images(work, range(len(work.items))), None)
    return torch.empty(0) if batch is None else batch.images.to(work.device)


def read_images(work: Work, order: Sequence[int]) -> Iterator[Batch]:
    """These images as the network reads them, unreadable ones left out."""
    return stream(
        work.items, work.settings.classes, size=work.settings.size, normalisation=work.normalisation,
        batch=work.settings.batch, order=order, on_unreadable=lambda _: None,
    )  # fmt: skip


def _columns(work: Work, k: int, batch: Batch) -> Mapping[str, Sequence[Any]]:
    asked = work.settings
    images, lesion = batch.images.to(work.device), batch.lesion.to(work.device)
    seed = asked.seed + k
    try:
        explained = explain_batch(work.model, images, asked.layers, asked.methods, seed=seed)
        values = score_batch(work.model, images, explained, asked, seed=seed)
    except ValueError as error:  # of the library, and of the network and its layers
        raise UnusableError(
            f"{asked.network} on {batch.names[0]} and {len(images) - 1} more: {error}"
        ) from error
    located = locate_batch(
        explained,
        lesion,
        batch.has_lesion,
        asked.metrics,
        tolerance=asked.tolerance,
        threshold=asked.threshold,
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
            *((classes[label], predicted == label) if label >= 0 else (None, None)),
            classes[predicted],
            sure,
        )
        for name, group, label, predicted, sure in zip(
            batch.names, groups, batch.labels.tolist(), top.tolist(), confidence.tolist(), strict=True
        )
    ]
    names = (
        "image",
        "group",
        "label",
        "correct",
        "predicted",
        "confidence",
        "layer",
        "method",
        "metric",
        "value",
    )
    rows = [
        (*about[i], layer, method, metric, value)
        for (layer, method), by_metric in {(NO_LAYER, NETWORK): {CORRECT: right}, **values}.items()
        for metric, per_image in by_metric.items()
        for i, value in enumerate(per_image.float().cpu().tolist())
        if value == value
    ]
    return dict(zip(names, zip(*rows, strict=True), strict=False))

"""Where maps are cut for their IoU: at the best threshold of each method on validation (Saporta et al. 2022)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from xaimed_bench.data.sets import Item
from xaimed_bench.study.evaluate.maps import explain_batch
from xaimed_bench.study.evaluate.work import Work, read_images
from xaimed_core.localisation import THRESHOLDS, ious
from xaimed_reports.store.jsonform import UnreadableError, read_object
from xaimed_reports.store.writing import write_whole

FILE = "thresholds.json"
DEFAULT = 0.5
"""Where no validation image has a lesion."""
MOST = 100
"""Validation images at most: a threshold is one of seven."""

Thresholds = Mapping[tuple[str, str], float]
"""By layer and method."""


def keep_thresholds(work: Work, validation: Sequence[Item], folder: Path) -> None:
    """Write those that ``validation`` finds, or the one that was given, unless they are there already."""
    path, given = folder / FILE, work.settings.threshold
    if path.exists():
        return
    marked = [item for item in validation if item.mask or item.boxes] if given is None else []
    if len(marked) > MOST:
        marked = [marked[i * len(marked) // MOST] for i in range(MOST)]
    found = _best(work, marked)
    about = {
        "images": len(marked),
        "otherwise": DEFAULT if given is None else given,
        "best": [[*key, threshold] for key, threshold in found.items()],
    }
    write_whole(path, json.dumps(about, indent=1))


def load_thresholds(folder: Path) -> tuple[Thresholds, str]:
    """What `keep_thresholds` wrote, and where they come from in words. Raises UnreadableError."""
    try:
        data = read_object(folder / FILE)
        best = {(layer, method): float(cut) for layer, method, cut in data["best"]}
        images, otherwise = int(data["images"]), float(data["otherwise"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{folder / FILE}: holds no thresholds; remove it and give --resume") from error
    said = f"for each layer and method the best on {images} validation images" if best else f"{otherwise:g}"
    return defaultdict(lambda: otherwise, best), said


def _best(work: Work, items: Sequence[Item]) -> dict[tuple[str, str], float]:
    """The threshold with the best mean IoU for each map, the lowest of equals."""
    asked = work.settings
    found: defaultdict[tuple[str, str], list[Tensor]] = defaultdict(list)
    for k, batch in enumerate(read_images(work, range(len(items)), items)):
        rows = batch.has_lesion
        if not bool(rows.any()):
            continue
        lesion = batch.lesion[rows].to(work.team.device)
        images = batch.images[rows].to(work.team.device)
        explained = explain_batch(work.model, images, asked.layers, asked.methods, seed=asked.seed + k)
        for made in explained.made:
            found[made.layer, made.method].append(ious(made.maps, lesion).cpu())
    means = {key: torch.cat(parts).nanmean(0) for key, parts in found.items()}
    return {key: THRESHOLDS[int(m.argmax())] for key, m in means.items() if not bool(m.isnan().all())}

"""Maps over images: the best, the typical and the worst by ROAD, for whoever reads the report here."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from xaimed_bench.study.evaluate.maps import methods_at, methods_needed
from xaimed_bench.study.evaluate.shards import read
from xaimed_bench.study.evaluate.work import Work, read_images
from xaimed_core import explain
from xaimed_core.display import new_figure

FOLDER = "figures"
EACH = 2
"""Images of each kind."""


def overlays(work: Work, folder: Path) -> list[tuple[str, str, str]]:
    """Write a picture for each layer; its caption, its place below ``folder``, and the picture as a data address."""
    found: list[tuple[str, str, str]] = []
    for role, layer in work.settings.layers.items():
        chosen = _chosen(work, folder, role)
        if not chosen:
            continue
        picture = _picture(work, layer, chosen)
        name = f"{FOLDER}/overlays-{role.replace('/', '-')}.png"
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / name).write_bytes(picture)
        address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        found.append((f"Best, typical and worst maps by ROAD at {role}", name, address))
    return found


def _chosen(work: Work, folder: Path, role: str) -> list[tuple[str, int, float]]:
    """Kind, number of the item and mean ROAD over methods of a few images."""
    rows: dict[str, list[Any]] = read(folder, role, "road").to_pydict()
    values: dict[str, list[float]] = {}
    for image, value in zip(cast("list[str]", rows["image"]), rows["value"], strict=True):
        values.setdefault(image, []).append(value)
    number = {item.name: i for i, item in enumerate(work.items)}
    order = sorted(((float(np.mean(v)), number[name]) for name, v in values.items()), reverse=True)
    middle = max(0, len(order) // 2 - EACH // 2)
    kinds = ("best", order[:EACH]), ("typical", order[middle : middle + EACH]), ("worst", order[-EACH:])
    return [(kind, i, value) for kind, some in kinds for value, i in some]


def _picture(work: Work, layer: str, chosen: list[tuple[str, int, float]]) -> bytes:
    names = methods_needed(methods_at(layer, work.settings.methods))
    figure: Any = new_figure(1.7 * (len(names) + 1), 1.9 * len(chosen))
    panels = figure.subplots(len(chosen), len(names) + 1, squeeze=False)
    for row, (kind, i, value) in zip(panels, chosen, strict=True):
        batch = next(read_images(work, [i]))
        e = explain(work.model, batch.images.to(work.team.device), names, layer.split(","), progress=False)
        pixels = work.normalisation.undo(batch.images)[0].clamp(0, 1).permute(1, 2, 0)
        for panel, name in zip(row, ("", *names), strict=True):
            panel.imshow(pixels)
            if name:
                panel.imshow(e.maps[name][0].cpu(), cmap="inferno", alpha=0.5, vmin=0, vmax=1)
            if bool(batch.has_lesion[0]):
                panel.contour(batch.lesion[0].to(torch.uint8), levels=[0.5], colors="white", linewidths=0.8)
            panel.set_title(name or f"{kind}, ROAD {value:+.2f}", fontsize=8)
            panel.axis("off")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    return out.getvalue()

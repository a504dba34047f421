"""Train, explain, and score the maps by ROAD beside baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

from xaimed_bench.models import MODELS, LayerRole
from xaimed_bench.study.split import Split, split_of
from xaimed_bench.study.training import accuracy, train_classifier
from xaimed_core.engine import explain
from xaimed_core.faithfulness import RoadTable, road_table
from xaimed_core.methods import PAPER
from xaimed_reports.store.writing import write_whole

REMOVED = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


@final
@dataclass(frozen=True)
class Study:
    """What is studied. ``images`` and ``train``: test images to score and training images, at most; ``size``: pixels
    a side; ``layer``: which layer is explained (at the last one several methods coincide)."""

    data: Path
    images: int = 48
    train: int = 1600
    epochs: int = 4
    size: int = 112
    layer: LayerRole = "earlier"
    seed: int = 0

    def load(self) -> Split:
        """The images. Raises ValueError or OSError for a folder that cannot be studied."""
        return split_of(self.data, size=self.size, train=self.train, test=self.images, seed=self.seed)


def run_study(study: Study, data: Split, out: Path) -> RoadTable:
    """Run it on what `Study.load` gave and say how it goes.

    road.md, road.png and the weights with their classes' names (resnet18.pt) go into ``out``.
    """
    print(
        f"{len(data.images)} training and {len(data.test_images)} test images of {len(data.classes)} classes; "
        f"{data.leaked} test files are byte-identical to training files and were left out"
    )
    for finding in data.findings:
        print(f"note: {finding}")
    model = train_classifier(
        data.images, data.labels, len(data.classes), epochs=study.epochs, seed=study.seed
    )
    right = accuracy(model, data.test_images, data.test_labels, data.classes)
    layer = MODELS["resnet18"].layers[study.layer]
    images = data.test_images
    with torch.no_grad():
        classes = torch.cat([model(part).argmax(1) for part in images.split(16)])
    parts = zip(images.split(16), classes.split(16), strict=True)
    explained = [explain(model, part, PAPER, layer, of) for part, of in parts]
    maps = {name: torch.cat([found.maps[name] for found in explained]) for name in PAPER}
    table = road_table(model, images, maps, targets=classes, removed=REMOVED, seed=study.seed)
    text = (
        f"ROAD of {len(images)} test images ({study.size} x {study.size}), "
        f"ResNet-18 trained for {study.epochs} epochs, {right:.0%} of them right, layer {layer}, "
        f"probability of the top class, seed {study.seed}\n\n{table.to_markdown()}"
    )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "road.md", text)
    table.figure().savefig(out / "road.png", dpi=120)
    torch.save({"state_dict": model.state_dict(), "classes": list(data.classes)}, out / "resnet18.pt")
    print(f"\n{text}\nStored in {out}: road.md, road.png, resnet18.pt")
    return table

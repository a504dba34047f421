"""python -m xaimed_core.study --data FOLDER: train, explain, and score the maps by ROAD beside baselines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from xaimed_core.engine import explain
from xaimed_core.faithfulness import road_table
from xaimed_core.models import MODELS
from xaimed_core.study.split import split_of
from xaimed_core.study.training import accuracy, train_classifier

METHODS = ("gradcam++", "xgradcam", "eigengradcam", "ablationcam", "layercam")
"""The five that arXiv 2503.08420 compares."""

REMOVED = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; writes road.md, road.png and the weights into --out. Returns 0."""
    given = _parser().parse_args(arguments)
    data = split_of(given.data, size=given.size, train=given.train, test=given.images, seed=given.seed)
    print(
        f"{len(data.images)} training and {len(data.test_images)} test images of {len(data.classes)} classes; "
        f"{data.leaked} test files are byte-identical to training files and were left out"
    )
    model = train_classifier(
        data.images, data.labels, len(data.classes), epochs=given.epochs, seed=given.seed
    )
    right = accuracy(model, data.test_images, data.test_labels)
    layer = MODELS["resnet18"].layers[given.layer]
    images = data.test_images
    explained = [explain(model, part, METHODS, layer) for part in images.split(16)]
    maps = {name: torch.cat([found.maps[name] for found in explained]) for name in METHODS}
    classes = model(images).argmax(1).detach()
    table = road_table(model, images, maps, targets=classes, removed=REMOVED, seed=given.seed)
    text = (
        f"ROAD of {len(images)} test images ({given.size} x {given.size}), "
        f"ResNet-18 trained for {given.epochs} epochs, {right:.0%} of them right, layer {layer}, "
        f"probability of the top class, seed {given.seed}\n\n{table.to_markdown()}"
    )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "road.md").write_text(text, encoding="utf-8")
    table.figure().savefig(given.out / "road.png", dpi=120)
    torch.save(model.state_dict(), given.out / "resnet18.pt")
    print(f"\n{text}\nStored in {given.out}: road.md, road.png, resnet18.pt")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m xaimed_core.study", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="class folders below Training/ and Testing/")
    parser.add_argument("--out", type=Path, default=Path("xaimed-results/study"), help="default: %(default)s")
    parser.add_argument("--images", type=int, default=48, help="test images to score; default: %(default)s")
    parser.add_argument("--train", type=int, default=1600, help="training images; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=112, help="pixels a side; default: %(default)s")
    parser.add_argument(
        "--layer", choices=("last", "earlier"), default="earlier",
        help="which layer is explained; at the last one several methods coincide; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())

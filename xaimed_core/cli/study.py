"""Train a classifier on a folder of images, explain it, and score the maps by ROAD beside baselines.

  xaimed study --data FOLDER         class folders below Training/ and Testing/

Prints a table and writes road.md, road.png and the weights. How to read it: docs/how-to-read-a-road-number.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Images, the classifier's training, and where to write."""
    parser.add_argument("--data", required=True, type=Path, metavar="FOLDER", help="the images")
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


def run(given: argparse.Namespace) -> int:
    """Run the study. 2 with one line on stderr when the folder cannot be used."""
    from xaimed_core.study.road import Study, run_study

    study = Study(given.data, given.images, given.train, given.epochs, given.size, given.layer, given.seed)
    try:
        run_study(study, given.out)
    except (ValueError, OSError) as error:
        print(f"xaimed study: {error}", file=sys.stderr)
        return 2
    return 0

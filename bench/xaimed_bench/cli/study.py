"""Train a classifier on a folder of images, explain it, and score the maps by ROAD beside baselines.

  xaimed study --data FOLDER         class folders below Training/ and Testing/

Prints a table and writes road.md, road.png and the weights. How to read it: docs/how-to-read-a-road-number.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from xaimed_bench.cli.given import count, folder_to_write
from xaimed_reports.store.jsonform import UnusableError

SMALLEST = 33
"""Pixels a side: below, the last layer of the network has a single place, and its statistics need more."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Images, the classifier's training, and where to write."""
    parser.add_argument("--data", required=True, type=Path, metavar="FOLDER", help="the images")
    parser.add_argument(
        "--out", type=folder_to_write, default="xaimed-results/study", help="default: %(default)s"
    )
    parser.add_argument(
        "--images", type=count(1), default=48, help="test images to score; default: %(default)s"
    )
    parser.add_argument("--train", type=count(1), default=1600, help="training images; default: %(default)s")
    parser.add_argument("--epochs", type=count(1), default=4, help="default: %(default)s")
    parser.add_argument(
        "--size", type=count(SMALLEST), default=112, help="pixels a side; default: %(default)s"
    )
    parser.add_argument(
        "--layer", choices=("last", "earlier"), default="earlier",
        help="which layer is explained; at the last one several methods coincide; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--seed", type=count(0), default=0, help="default: %(default)s")


def run(given: argparse.Namespace) -> int:
    """Run the study. Raises UnusableError for a folder that cannot be studied, before anything is trained."""
    from xaimed_bench.study.road import Study, run_study

    study = Study(given.data, given.images, given.train, given.epochs, given.size, given.layer, given.seed)
    try:
        data = study.load()
    except ValueError as error:  # only of the folder: what follows has no user's input left to blame
        raise UnusableError(str(error)) from error
    run_study(study, data, given.out)
    return 0

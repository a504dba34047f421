"""What the maps of a network are worth: ROAD and its relatives, localisation, baselines; image by image.

  xaimed evaluate FOLDER --checkpoint checkpoint.safetensors --out OUT        a network of xaimed train
  xaimed evaluate FOLDER --model resnet50 --checkpoint weights.pt --out OUT   weights of your own
  xaimed evaluate ... --resume                                                go on after a stop
  torchrun --nproc-per-node 4 -m xaimed_bench evaluate ...                    several processes, one table

Every test image is explained by every method at every layer, in one pass. OUT holds settings.json, rows/ (Parquet, a
file per batch), summary.json, report.md and report.html. A run that is killed loses one batch at most. Exit codes: 0
done, images that cannot be read are named; 2 input that cannot be used, or an OUT of other settings.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from xaimed_bench.cli.data import add_drop_leaks
from xaimed_bench.cli.given import count, folder_to_write, within
from xaimed_bench.device import DEVICE_HELP

SPLITS = ("testing", "validation", "all")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The images, the network, what is asked, and where to write."""
    parser.add_argument("data", type=Path, metavar="FOLDER", help="the images")
    parser.add_argument("--out", type=folder_to_write, required=True, help="where rows and report go")
    parser.add_argument(
        "--model", metavar="NAME", help="of the list in the docs, timm:NAME or package.module:function"
    )
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the network's weights")
    parser.add_argument("--init", default="scratch", help="without --checkpoint: scratch, imagenet or a file")
    parser.add_argument(
        "--layer", action="append", metavar="LAYER",
        help="last, earlier, before or a dotted name; may be given again; several together, as refinecam needs them, "
        "with commas between; default: last and earlier where known",
    )  # fmt: skip
    parser.add_argument("--methods", metavar="NAMES", help="with commas between; default: the paper's five and "
                        "layercam x gradcam++")  # fmt: skip
    parser.add_argument(
        "--steps", type=count(3), default=20, help="of deletion and insertion; default: %(default)s"
    )
    parser.add_argument("--metrics", metavar="NAMES", help="with commas between; default: all")
    parser.add_argument(
        "--split", choices=SPLITS, default="testing", help="which images; default: %(default)s"
    )
    parser.add_argument("--rename", action="append", type=_renaming, default=[], metavar="CLASS=NAME",
                        help="what the network calls a class of the images; may be given again")  # fmt: skip
    parser.add_argument(
        "--size", type=count(16), help="pixels a side; default: what the network was trained on"
    )
    parser.add_argument("--limit", type=count(1), help="at most so many images, spread evenly")
    parser.add_argument(
        "--threshold", type=within(above=0, below=1),
        help="of iou; default: each method's best on validation, 0.5 where no image of that has a lesion",
    )  # fmt: skip
    parser.add_argument(
        "--tolerance", type=count(0), default=15, help="pixels of the pointing game (%(default)s)"
    )
    parser.add_argument("--batch", type=count(1), default=4, help="images per call; default: %(default)s")
    parser.add_argument(
        "--seed", type=count(0), default=0, help="of noise and random maps; default: %(default)s"
    )
    parser.add_argument(
        "--workers", type=count(0), default=1, help="decoding processes; default: %(default)s"
    )
    parser.add_argument("--device", help=DEVICE_HELP)
    parser.add_argument("--resume", action="store_true", help="go on with what OUT holds")
    parser.add_argument("--no-images", action="store_true", help="no pictures of images in the report")
    add_drop_leaks(parser)


def run(given: argparse.Namespace) -> int:
    """Evaluate, summarise, report. Raises UnusableError for what cannot be used."""
    from xaimed_bench.device import device_named
    from xaimed_bench.study.evaluate.prepare import Asked
    from xaimed_bench.study.evaluate.whole import evaluate

    asked = Asked(**{field.name: getattr(given, field.name) for field in fields(Asked)})
    evaluate(asked, device_named(given.device))
    return 0


def _renaming(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise argparse.ArgumentTypeError(f"{text!r} given; give CLASS=NAME")
    return old, new

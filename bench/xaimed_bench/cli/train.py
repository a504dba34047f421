"""Train a classifier on a folder of images, from weights that have learnt to see, or from scratch.

  xaimed train FOLDER --model resnet50 --init imagenet --out OUT      finetune: one-cycle, stops on validation
  xaimed train FOLDER --model vgg16 --init FILE --freeze features --out OUT    a linear classifier, in seconds
  xaimed train FOLDER --model vgg16 --init OUT/checkpoint.safetensors --out OTHER      go on from its weights
  xaimed train FOLDER --model resnet50 --init imagenet --recipe probe-first --out OUT    that, then all weights gently
  xaimed train FOLDER --model resnet50 --recipe paper --out OUT       as arXiv 2503.08420
  xaimed train ... --out OUT --resume                                 go on after it was stopped, at any moment
  torchrun --nproc-per-node 4 -m xaimed_bench train ...               several GPUs, or processes, together

Writes OUT/checkpoint.safetensors, which names its network, classes, normalisation and temperature, OUT/train.json and
OUT/log.jsonl; OUT/state/ is what --resume needs. Prints how often it is right about the test images, with and without
those that training holds, too.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaimed_bench.cli.data import add_drop_leaks
from xaimed_bench.cli.given import count, folder_to_write, within, words
from xaimed_bench.device import DEVICE_HELP, device_named
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    from xaimed_bench.study.train.recipe import Recipe

SMALLEST = 32
"""Pixels a side: below, some networks have no place left at their last layer."""
_OVERRIDES = {"epochs": "epochs", "batch": "batch", "lr": "rate", "schedule": "schedule"}
"""Options that change a recipe, and what they change in it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The images, the network, how it is trained, and where to write."""
    parser.add_argument("data", type=Path, metavar="FOLDER", help="the images")
    parser.add_argument(
        "--model", type=words, required=True, metavar="NAME",
        help="resnet50, densenet121, vgg16, efficientnet_b0, tf_efficientnet_lite0 and others; timm:NAME; "
        "package.module:function, which is called with the number of classes",
    )  # fmt: skip
    parser.add_argument(
        "--init", type=words, default="scratch", metavar="WEIGHTS",
        help="scratch, imagenet, or a file of weights, of which those that fit are taken; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--out", type=folder_to_write, required=True, metavar="OUT", help="where to write")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the training in OUT, if there is one"
    )
    add_drop_leaks(parser)
    _how(parser.add_argument_group("how it is trained"))
    _where(parser.add_argument_group("on what"))


def _how(how: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage] (the class has no other name)
    how.add_argument("--recipe", choices=("paper", "finetune", "probe-first"), help="default: finetune")
    how.add_argument(
        "--freeze", choices=("features",), help="train a linear classifier alone, on features computed once"
    )
    how.add_argument("--epochs", type=count(1), help="default: as the recipe has it")
    how.add_argument("--batch", type=count(2), help="images of a step, over all processes; likewise")
    how.add_argument(
        "--lr", type=within(above=0), help="the learning rate, of one-cycle the largest; likewise"
    )
    how.add_argument("--schedule", choices=("constant", "one-cycle"), help="of the learning rate; likewise")
    how.add_argument(
        "--size", type=count(SMALLEST), help="pixels a side; default: what the network was made for"
    )
    how.add_argument("--seed", type=count(0), default=0, help="default: %(default)s")
    how.add_argument(
        "--validation", type=within(least=0, below=1), default=0.15,
        help="share of the training images to validate on, where the folder has none; default: %(default)s",
    )  # fmt: skip


def _where(where: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage]
    where.add_argument("--device", type=words, help=DEVICE_HELP.replace("measure", "train"))
    where.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto",
        help="of forwards; auto: bfloat16 where the hardware has it; default: %(default)s",
    )  # fmt: skip
    where.add_argument("--threads", type=count(1), help="of the CPU; default: all cores")
    where.add_argument("--workers", type=count(0), default=0, help="reading processes; default: %(default)s")
    where.add_argument(
        "--keep-every", type=within(least=0), default=300.0, metavar="SECONDS",
        help="at most so long between two states that --resume goes on from; default: %(default)g",
    )  # fmt: skip


def run(given: argparse.Namespace) -> int:
    """Train. Raises UnusableError for what cannot be trained."""
    import torch

    recipe = _recipe(given)
    device = device_named(given.device)
    from xaimed_bench.study.train.run import Asked, train

    if given.threads:
        torch.set_num_threads(given.threads)
    asked = Asked(
        given.data, given.out, given.model, given.init, recipe,
        seed=given.seed, size=given.size, validation=given.validation, drop_leaks=given.drop_leaks,
        precision=given.precision, workers=given.workers, every_s=given.keep_every, resume=given.resume,
    )  # fmt: skip
    about = train(asked, device)
    if about:
        _show(about, given.out)
    return 0


def _recipe(given: argparse.Namespace) -> Recipe | None:
    """The recipe with what the options change in it; None where the features stay."""
    from xaimed_bench.study.train.recipe import RECIPES

    changed = {
        field: getattr(given, name) for name, field in _OVERRIDES.items() if getattr(given, name) is not None
    }
    if given.freeze:
        wrong = [f"--{name}" for name in ("recipe", *_OVERRIDES) if getattr(given, name) is not None]
        if wrong:
            raise UnusableError(
                f"with --freeze the classifier is found exactly; leave {', '.join(wrong)} out"
            )
        return None
    return replace(RECIPES[given.recipe or "finetune"], **changed)


def _show(about: dict[str, Any], out: Path) -> None:
    for score in about["scores"]:
        say(
            f"{score['images']}: {score['accuracy']:.1%} of {score['count']} right, "
            f"mean precision {score['precision']:.1%}, recall {score['recall']:.1%}"
        )
        say("  " + "; ".join(f"{name} {right}" for name, right in score["right"].items()))
    say(f"temperature {about['temperature']:.3f}; expected calibration error:")
    for name, error in about["calibration"].items():
        say(f"  {name} {error['before']:.3f} before, {error['after']:.3f} after")
    say(f"wrote {out / 'checkpoint.safetensors'}")

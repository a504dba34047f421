"""The options of `pytest bench`, and what is refused before anything is measured."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from math import nan
from pathlib import Path
from typing import Any

from xaimed_bench.checkpoints import read_checkpoint
from xaimed_bench.data.folders import find_images
from xaimed_bench.device import DEVICE_HELP, device_named
from xaimed_bench.measure import PROFILES
from xaimed_bench.models import MODELS, build_model
from xaimed_reports.store.jsonform import UnusableError


def options() -> dict[str, dict[str, Any]]:
    """What argparse needs to know of each option, by name."""
    return {
        "--profile": {
            "choices": [*PROFILES],
            "default": "quick",
            "help": "how much is measured: quick (minutes, the default), full (about an hour), gate (regressions only)",
        },
        "--device": {"help": DEVICE_HELP},
        "--data": {
            "default": os.environ.get("XAIMED_DATA"),
            "help": "folder of real images; default: phantoms",
        },
        "--data-name": {"help": "what to call these images in results that may be shared"},
        "--checkpoint": {"help": "weights of the models (a state_dict file); default: seeded and calibrated"},
        "--peers": {"action": "store_true", "help": "measure torch-cam and Captum too, where installed"},
        "--shuffle": {
            "type": int,
            "metavar": "SEED",
            "help": "measure the cases in an order that this seed decides",
        },
        "--only-case": {
            "action": "append",
            "default": [],
            "metavar": "KEY",
            "help": "measure only the case of this key",
        },
        "--extra-work": {
            "action": "append",
            "default": [],
            "metavar": "KEY=SHARE",
            "help": "for trials of the gate: make xaimed really slower by this share in this case",
        },
        "--cold": {"action": "store_true", "help": "overwrite the GPU's L2 cache before each call"},
        "--journal": {"help": "where finished cases are kept; default: beside the JSON, or xaimed-results/"},
        "--resume": {
            "action": "store_true",
            "help": "take finished cases from the journal of an unfinished run",
        },
    }


def need_usable(option: argparse.Namespace) -> None:
    """Raise UnusableError, one sentence, for a device, images, weights or extra work that cannot be used."""
    device_named(option.device)
    extra_work(option.extra_work)
    if option.journal is not None and Path(option.journal).is_dir():
        raise UnusableError(f"--journal: {option.journal} is a folder; give the name of a file")
    for name, value, look in (
        ("--data", option.data, lambda path: find_images(Path(path))),
        ("--checkpoint", option.checkpoint, read_checkpoint),
    ):
        if value is None:
            continue
        try:
            look(value)
        except (ValueError, OSError) as error:
            raise UnusableError(f"{name}: {error}") from error


def need_fitting_checkpoint(checkpoint: str | None, models: Iterable[str]) -> None:
    """Raise UnusableError where the checkpoint does not fit one of the models that are to be measured."""
    for name in sorted(set(models) & MODELS.keys()) if checkpoint is not None else ():
        try:
            build_model(name, checkpoint=checkpoint)
        except (ValueError, OSError) as error:
            raise UnusableError(
                f"--checkpoint, for {name} (choose other benches with -k): {error}"
            ) from error


def extra_work(pairs: Iterable[str]) -> dict[str, float]:
    """The share of extra work by case key, from texts KEY=SHARE. Raises UnusableError."""
    found: dict[str, float] = {}
    for text in pairs:
        key, _, share = text.rpartition("=")
        try:
            found[key] = float(share)
        except ValueError:
            found[key] = nan
        if not (key and 0 <= found[key] < 10):
            raise UnusableError(
                f"--extra-work {text}: give KEY=SHARE, a share below 10, e.g. KEY=0.1 for 10 %"
            )
    return found

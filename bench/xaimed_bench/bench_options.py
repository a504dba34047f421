"""What the options of benches ask for, and what is refused before anything is measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from math import nan
from pathlib import Path

from xaimed_bench.checkpoints import read_checkpoint
from xaimed_bench.data.folders import find_images
from xaimed_bench.device import device_named
from xaimed_bench.measure import PROFILES, Plan
from xaimed_bench.models import MODELS, build_model
from xaimed_reports.store.jsonform import UnusableError


def need_usable(option: argparse.Namespace) -> None:
    """Raise UnusableError, one sentence, for a device, images, weights or extra work that cannot be used."""
    if option.profile not in PROFILES:
        raise UnusableError(f"--profile {option.profile}: give {', '.join(PROFILES)}")
    device_named(option.device)
    extra_work(option.extra_work)
    planned(option)
    seed(option.shuffle)
    for name in ("journal", "benchmark_json"):
        path = getattr(option, name, None)
        if path is not None and Path(path).is_dir():
            raise UnusableError(f"--{name.replace('_', '-')}: {path} is a folder; give the name of a file")
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


def planned(option: argparse.Namespace) -> Plan:
    """The plan of the profile, which --budget ends. Raises UnusableError."""
    plan = PROFILES[option.profile]
    if option.budget is None:
        return plan
    try:
        budget_s = float(option.budget)
    except ValueError:
        budget_s = nan
    if not 1 <= budget_s < 1e6:
        raise UnusableError(f"--budget {option.budget}: give seconds, 1 at least, e.g. --budget 600")
    return replace(plan, total_s=budget_s, ends=True)


def seed(text: str | None) -> int | None:
    """What --shuffle names. Raises UnusableError."""
    if text is None:
        return None
    if not text.isdecimal():
        raise UnusableError(f"--shuffle {text}: give a seed, a whole number from 0 on")
    return int(text)


def named(option: str, text: str | None, known: Iterable[str], default: Iterable[str]) -> tuple[str, ...]:
    """What a list with commas between names, each once; None: the default. Raises UnusableError."""
    if text is None:
        return tuple(default)
    names, all_ = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip())), tuple(known)
    unknown = [repr(name) for name in names if name not in all_]
    if unknown or not names:
        what = f"no {', '.join(unknown)}" if unknown else "nothing given"
        raise UnusableError(f"{option}: {what}; there are {', '.join(all_)}")
    return names


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

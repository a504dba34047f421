"""All parts of a card one after another, each kept as soon as it is finished."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xaimed_bench.measure.case import one_line
from xaimed_bench.measure.checkout import revision
from xaimed_bench.measure.machine import Watch
from xaimed_bench.profile.agreement import measure_agreement
from xaimed_bench.profile.energy import measure_energy
from xaimed_bench.profile.kernels import measure_kernels
from xaimed_bench.profile.memory import find_largest, measure_memory
from xaimed_bench.profile.methods import measure_methods
from xaimed_bench.profile.predicted import predict
from xaimed_bench.profile.road import measure_road
from xaimed_bench.profile.roofs import measure_roofs
from xaimed_bench.profile.setting import Setting
from xaimed_bench.progress import Steps
from xaimed_reports.profile.card import PARTS, Card, Taken

MEASURES: dict[str, Callable[[Setting, Card], Any]] = {
    "roofs": lambda setting, card: measure_roofs(setting),
    "methods": lambda setting, card: measure_methods(setting),
    "kernels": lambda setting, card: measure_kernels(setting),
    "predicted": lambda setting, card: predict(setting),
    "road": lambda setting, card: measure_road(setting),
    "agreement": lambda setting, card: measure_agreement(setting),
    "memory": lambda setting, card: measure_memory(setting),
    "energy": lambda setting, card: measure_energy(setting),
    "largest": lambda setting, card: find_largest(setting, card.memory or measure_memory(setting)),
}


def measure_parts(
    setting: Setting,
    card: Card,
    parts: Sequence[str],
    *,
    keep: Callable[[Card], Any],
) -> Card:
    """Measure ``parts`` (of `PARTS`) into ``card``. ``keep`` is handed the card after each.

    A part that raises is named in ``failed`` with its error, and the next one is measured.
    """
    asked = [name for name in PARTS if name in parts]
    with Steps("part", len(asked)) as steps:
        for name in asked:
            steps.begin(name)
            card = _measured(setting, card, name)
            keep(card)
    return card


def _measured(setting: Setting, card: Card, name: str) -> Card:
    watch, began = Watch(setting.device), time.perf_counter()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    failed = {part: why for part, why in card.failed.items() if part != name}
    taken = {part: how for part, how in card.taken.items() if part != name}
    changed: dict[str, Any] = {name: None}
    try:
        changed[name] = MEASURES[name](setting, card)
        taken[name] = Taken(started, time.perf_counter() - began, _revision(), watch.conditions())
    except Exception as error:
        failed[name] = one_line(error)
    return dataclasses.replace(card, **changed, failed=failed, taken=taken)


def _revision() -> str | None:
    root = Path(__file__).parents[3]
    return revision(root) if (root / "pyproject.toml").exists() else None

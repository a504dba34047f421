"""What an evaluation asks: everything that its numbers follow from, kept beside them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, final

from xaimed_reports.store.jsonform import UnreadableError, UnusableError, from_json, read_object
from xaimed_reports.store.writing import write_whole

SETTINGS = "settings.json"
SCHEMA = 2


@final
@dataclass(frozen=True)
class Settings:
    """What numbers follow from. Two evaluations with equal settings have equal rows on one machine.

    ``network``: its title and where its weights come from; ``weights``: their digest. ``layers``: role or name, then
    dotted name. ``images``: digest of the images and their classes; ``count`` how many. ``removed``: the fractions of
    ROAD, ``steps`` those of deletion and insertion. ``batch``: images per call; ROAD's noise depends on the batch.
    ``threshold``: of iou, None for those that validation finds. ``recipe``: what weights the network's training began
    with, where `xaimed train` wrote it down.
    """

    network: str
    weights: str
    init: str
    layers: dict[str, str]
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    steps: int
    data: str
    split: str
    images: str
    count: int
    classes: tuple[str, ...]
    size: int
    batch: int
    removed: tuple[float, ...]
    tolerance: float
    threshold: float | None
    seed: int
    version: str
    torch: str
    recipe: dict[str, str]
    schema: int = SCHEMA


def keep_settings(folder: Path, asked: Settings, *, resume: bool) -> None:
    """Write the settings into a new folder, or find them there as asked.

    Raises UnusableError where the folder holds an evaluation and ``resume`` is False, or where it holds another one:
    rows of two settings are never mixed.
    """
    path = folder / SETTINGS
    if not path.exists():
        if (folder / "rows").exists():
            raise UnusableError(f"{folder} holds rows without their {SETTINGS}; give another --out")
        write_whole(path, json.dumps(asdict(asked), indent=1))
        return
    if not resume:
        raise UnusableError(f"{folder} holds an evaluation already; add --resume, or give another --out")
    if differ := differences(load_settings(folder), asked):
        raise UnusableError(
            f"{folder} holds an evaluation with other settings ({'; '.join(differ[:3])}); give another --out"
        )


def load_settings(folder: Path) -> Settings:
    """The settings of an evaluation. Raises UnreadableError."""
    try:
        data = read_object(folder / SETTINGS)
    except UnreadableError as error:
        raise UnreadableError(
            f"{folder}: {error}; give another --out, for its rows may be of anything"
        ) from error
    if data.get("schema") != SCHEMA:
        raise UnreadableError(f"{folder / SETTINGS}: not settings of an evaluation of this version")
    return from_json(Settings, data, SETTINGS)


def differences(a: Settings, b: Settings) -> list[str]:
    """Fields that differ, in words."""
    pairs = ((f.name, getattr(a, f.name), getattr(b, f.name)) for f in fields(Settings))
    return [f"{name}: {_short(x)} there, {_short(y)} now" for name, x, y in pairs if x != y]


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

"""A training from a folder of images to a checkpoint that says all there is to know of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import torch

from xaimed_bench.data.folders import content_digest
from xaimed_bench.data.sets import ImageSet, Leak, open_set
from xaimed_bench.networks import Network, open_network, save_network
from xaimed_bench.study.train.fit import Kept, fit
from xaimed_bench.study.train.frozen import Features, Head, features_of, fit_head
from xaimed_bench.study.train.images import Images, Machine, Outputs, computes_half, outputs_of
from xaimed_bench.study.train.judging import Judgement, judge
from xaimed_bench.study.train.recipe import Recipe
from xaimed_bench.study.train.state import LogRow, Settings, State, note, refuse_begun, refuse_other
from xaimed_bench.study.train.team import team_on
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.writing import alone_in, write_whole

Precision = Literal["auto", "float32", "bfloat16"]


@final
@dataclass(frozen=True)
class Asked:
    """What a training is asked for.

    ``recipe``  None: the features stay as they are, and a linear classifier on them is trained
    ``size``  pixels a side, None: as the network was made for; ``precision``  "auto": bfloat16 where it is fast
    ``every_s``  seconds between two states that are kept within an epoch
    """

    data: Path
    out: Path
    model: str
    init: str
    recipe: Recipe | None
    seed: int = 0
    size: int | None = None
    validation: float = 0.15
    drop_leaks: Leak | Literal[False] = False
    precision: Precision = "auto"
    workers: int = 0
    every_s: float = 300.0
    resume: bool = False


def train(asked: Asked, device: torch.device) -> dict[str, Any]:
    """Train, or go on, and write checkpoint.safetensors, train.json, log.jsonl and state/ into ``out``.

    Returns what train.json holds; of several processes those that do not lead return nothing.
    Raises UnusableError for what cannot be trained, OSError where ``out`` cannot be written.
    """
    with team_on(device) as team, alone_in(asked.out) if team.leads else nullcontext():
        refuse_begun(asked.out, resume=asked.resume)
        try:
            images = open_set(
                asked.data, seed=asked.seed, validation=asked.validation, drop_leaks=asked.drop_leaks
            )
            network = open_network(
                asked.model, classes=images.classes or ("",), init=asked.init, seed=asked.seed,
                head=None if asked.recipe and not asked.recipe.probe else "linear",
            )  # fmt: skip
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise UnusableError(str(error)) from error
        network = replace(network, size=asked.size or network.size)
        data = Images(images, network.size, network.normalisation)
        half = computes_half(team.device) if asked.precision == "auto" else asked.precision == "bfloat16"
        settings = _settings(asked, network, images, half)
        refuse_other(asked.out, settings)
        team.wait()
        if team.leads:
            note(asked.out, settings)
            for sentence in (*images.findings, network.loaded):
                say(f"note: {sentence}", sys.stderr)
        return _run(asked, network, data, settings, Machine(team, half, asked.workers))


def _settings(asked: Asked, network: Network, images: ImageSet, half: bool) -> Settings:
    file = Path(asked.init)
    init = f"{file.name} {str(content_digest(file))[:12]}" if file.is_file() else asked.init
    how = {f"recipe {key}": value for key, value in asdict(asked.recipe).items()} if asked.recipe else {}
    return {
        "model": network.name,
        "init": init,
        "freeze": "nothing" if asked.recipe else "features",
        **how,
        "seed": asked.seed,
        "size": network.size,
        "validation": asked.validation,
        "drop-leaks": asked.drop_leaks,
        "precision": "bfloat16" if half else "float32",
        "data": images.digest,
    }


def _run(
    asked: Asked, network: Network, data: Images, settings: Settings, machine: Machine
) -> dict[str, Any]:
    team = machine.team
    network.model.to(team.device).to(memory_format=torch.channels_last)
    if asked.recipe:
        log, validation, testing = _whole(asked, asked.recipe, network, data, machine)
    else:
        log, validation, testing = _frozen(asked, network, data, machine)
    items = data.split("testing")
    judged = judge(validation, testing, items, network.classes, data.images.leaks)
    network.model.to("cpu").to(memory_format=torch.contiguous_format)
    recipe = {key: str(value) for key, value in settings.items() if key != "data"}
    done = replace(network, temperature=judged.temperature, recipe=recipe, data=data.images.digest)
    about = _about(done, data, settings, log, judged)
    if team.leads:
        save_network(done, asked.out / "checkpoint.safetensors")
        _write_log(asked.out, log)
        write_whole(asked.out / "train.json", json.dumps(about, indent=1))
    team.wait()
    return about if team.leads else {}


def _whole(
    asked: Asked, recipe: Recipe, network: Network, data: Images, machine: Machine
) -> tuple[list[LogRow], Outputs, Outputs]:
    """All weights trained, and what the network then answers, in float32."""

    def on_epoch(state: State) -> None:
        _write_log(asked.out, state.log)
        row = {key: value for key, value in state.log[-1].items() if key != "step"}
        say(", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in row.items()), sys.stderr)

    kept = Kept(asked.out / "state" / "training.safetensors", asked.every_s, on_epoch)
    found: list[LogRow] = []
    if recipe.probe:
        probed = _probe(asked, network, data, machine)
        probed.judged.put_into(network.model)  # which leaves validation unseen
        found = [probed.row]
    state = fit(network.model, data, recipe, asked.seed, machine, kept)
    exact = replace(machine, half=False)
    answers = [
        outputs_of(network.model, data, data.split(which), exact) for which in ("validation", "testing")
    ]
    return [*found, *state.log], answers[0], answers[1]


def _frozen(
    asked: Asked, network: Network, data: Images, machine: Machine
) -> tuple[list[LogRow], Outputs, Outputs]:
    """The classifier alone trained, and what it answers to the features; on validation one that has not seen it."""
    testing = features_of(network.model, data, "testing", machine, _features(asked))
    probed = _probe(asked, network, data, machine)
    probed.head.put_into(network.model)
    return [probed.row], probed.judged.outputs(probed.validation), probed.head.outputs(testing)


@final
@dataclass(frozen=True)
class _Probed:
    """Classifiers on features: ``judged`` has not seen those of ``validation``, ``head`` has."""

    judged: Head
    head: Head
    validation: Features

    @property
    def row(self) -> LogRow:
        judged = {"validation_loss": self.judged.loss(self.validation)} if self.validation.there.any() else {}
        return {"strength": self.head.strength, **judged}


def _probe(asked: Asked, network: Network, data: Images, machine: Machine) -> _Probed:
    training, validation = (
        features_of(network.model, data, which, machine, _features(asked))
        for which in ("training", "validation")
    )
    return _Probed(*fit_head(training, validation, len(network.classes)), validation)


def _features(asked: Asked) -> Path:
    return asked.out / "state" / "features"


def _write_log(out: Path, log: list[LogRow]) -> None:
    write_whole(out / "log.jsonl", "".join(f"{json.dumps(row)}\n" for row in log))


def _about(
    network: Network, data: Images, settings: Settings, log: list[LogRow], judged: Judgement
) -> dict[str, Any]:
    images, counts = data.images, Counter(item.split for item in data.images.items)
    return {
        "settings": dict(settings),
        "data": {
            "name": images.name,
            "images": dict(counts),
            "classes": images.classes,
            "findings": images.findings,
            "unreadable": data.unreadable,
        },
        "weights": network.loaded,
        "log": log,
        **asdict(judged),
    }

"""What one explained batch costs: every method of xaimed beside grad-cam's, in time, memory and fidelity."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import pytest
import torch

from xaimed_bench.device import device_named
from xaimed_bench.measure import agree_within, nearer_sign, of_maps, peers
from xaimed_bench.measure.subject import Subject
from xaimed_bench.models import MODELS
from xaimed_core import METHODS, Explanation, explain
from xaimed_core.methods import PAPER, ChannelProbe
from xaimed_reports.store.records import Fidelity

TOGETHER = tuple(m for m in PAPER if m != "ablationcam")  # one call, and no forward pass per channel
PEERS = {"torchcam": (peers.TORCHCAM, peers.torch_cam), "captum": (peers.CAPTUM, peers.captum)}


@dataclass(frozen=True)
class Cam:
    """One value per axis, all short strings: they are the ids that later comparisons join on."""

    method: str
    model: str = "resnet50"
    layer: str = "last"
    batch: str = "4"
    dtype: str = "fp32"
    size: str = "224"


def kind(method: str) -> type:
    return type(METHODS[method].kind)


def cases(profile: str, *, cuda: bool) -> list[Cam]:
    """The cases of a profile; later axes vary around the paper's ResNet-50.

    A GPU gets batches that fill it, and AblationCAM at full size, which takes grad-cam minutes per image on a CPU.
    """
    paper = [name for name, spec in MODELS.items() if spec.paper]
    whole = [m for m, method in METHODS.items() if method.oracle and not method.runs_again]
    probing = [m for m in METHODS if kind(m) is ChannelProbe]
    batch = "64" if cuda else "4"
    probed = [Cam(m, batch="1") if cuda else Cam(m, model="resnet18", batch="1", size="96") for m in probing]
    match profile:
        case "gate":
            if cuda:
                return [Cam(m, batch=batch) for m in whole] + probed
            return [Cam(m, "resnet18", batch=batch, size="128") for m in (*whole, *probing)]
        case "quick":
            return [
                *(Cam(m, batch=batch) for m in whole),
                Cam("together", batch=batch),
                *probed,
                *(Cam("xgradcam", model=name, batch=batch) for name in paper if name != "resnet50"),
                *(Cam(m, layer="earlier", batch=batch) for m in ("xgradcam", "layercam")),
            ]
        case _:
            batches = tuple(dict.fromkeys(("1", batch)))
            at = [(name, layer) for name in paper for layer in MODELS[name].layers]
            return [
                *(Cam(m, name, layer, each) for name, layer in at for each in batches for m in whole),
                *(Cam("together", batch=each) for each in batches),
                *(Cam(m, batch="1") for m in probing),
                *(
                    Cam(m, name, layer, batch="1", size="96")
                    for name, layer in at
                    for m in probing
                    if layer in MODELS[name].nonnegative
                ),
            ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "method" in metafunc.fixturenames:
        config = metafunc.config
        cuda = device_named(config.getoption("--device")).type == "cuda"
        chosen = [astuple(case) for case in cases(config.getoption("--profile"), cuda=cuda)]
        metafunc.parametrize("method, model, layer, batch, dtype, size", chosen)


def bench_explaining_a_batch(
    measure, subjects, asked_peers, pytestconfig, method, model, layer, batch, dtype, size
):
    subject = subjects.get(model, layer, batch=int(batch), dtype=dtype, size=int(size))
    methods = TOGETHER if method == "together" else (method,)
    images, classes, where = subject.images, list(subject.classes), subject.layer
    with ExitStack() as built:
        theirs = {  # each on a model of its own, for one extractor's hooks would slow down the others
            m: built.enter_context(
                peers.grad_cam(METHODS[m].oracle, subject.apart(m), where, images, classes)
            )
            for m in methods
        }

        def reference() -> dict[str, Any]:
            return {m: maps() for m, maps in theirs.items()}

        gate = pytestconfig.getoption("--profile") == "gate"  # there the reference only checks
        measure(
            lambda: explain(subject.model, images, methods, where, classes, semantics="grad-cam"),
            against=None if gate else reference,
            truth=reference if gate else None,
            what=peers.grad_cam_name(", ".join(METHODS[m].oracle for m in methods)),
            exact=lambda: exactly(subject, methods),
            forward=subject.forward,
            judge=judge,
            allowed=agree_within(methods),
            images=len(images),
            revision=max(METHODS[m].revision for m in methods),
            peers={
                name: built.enter_context(arm(method, subject.apart(name), where, images, classes))
                for name, (offered, arm) in PEERS.items()
                if name in asked_peers and method in offered
            },
            notes=lambda ours: [f"{m}: {route}" for m, route in ours.route.items()],
            pictures=lambda ours, expected: pictures(subject, ours, expected),
        )


def pictures(subject: Subject, ours: Explanation, theirs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The first image with each map of it."""
    shown = {"image": subject.pixels[0].permute(1, 2, 0)}
    for m, maps in theirs.items():
        shown |= {f"{m}, xaimed": ours.maps[m][0], f"{m}, grad-cam": torch.as_tensor(maps[0])}
    return shown


def exactly(subject: Subject, methods: tuple[str, ...]) -> dict[str, Any]:
    """grad-cam's maps in float64: how much of a difference its own rounding explains."""
    model, images = subject.apart("float64").double(), subject.images.double()
    found = {}
    for m in methods:
        with peers.grad_cam(METHODS[m].oracle, model, subject.layer, images, subject.classes) as maps:
            found[m] = maps()
    return found


def judge(ours: Explanation | dict[str, Any] | torch.Tensor, expected: dict[str, Any]) -> Fidelity:
    """Maps against maps; where the sign is grad-cam's accident, each image is judged by the nearer of the two."""
    match ours:
        case Explanation():
            mine = [nearer_sign(ours, m, expected[m]) for m in expected]
        case torch.Tensor():
            mine = [ours.cpu()]
        case _:
            mine = [ours[m] for m in expected]
    return of_maps(np.concatenate(mine), np.concatenate(list(expected.values())))

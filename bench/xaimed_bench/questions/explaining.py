"""What one explained batch costs, beside grad-cam or checked by float64 alone."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import numpy as np
import torch

from xaimed_bench.measure import agree_within, nearer_sign, of_maps, peers
from xaimed_bench.measure.subject import Subject
from xaimed_core import METHODS, Explanation, explain
from xaimed_reports.store.records import REFERENCE, Fidelity

BENCH = "explaining a batch"
"""What cases of this question are called."""
PEERS = {"torchcam": (peers.TORCHCAM, peers.torch_cam), "captum": (peers.CAPTUM, peers.captum)}
FLOAT64 = "xaimed in float64"
Reference = Literal["timed", "checks", "none"]
"""What grad-cam is for: to be timed beside xaimed, to check its maps alone, or nothing where it is not used."""


@contextmanager
def explaining(
    subject: Subject,
    methods: tuple[str, ...],
    *,
    reference: Reference = "timed",
    beside: Sequence[str] = (),
    without: str = "",
) -> Generator[dict[str, Any]]:
    """The arguments of `measure`. ``beside``: further packages, of `PEERS`, where they offer the method.

    Without grad-cam the maps must agree with xaimed's own in float64 on the CPU; ``without``: why, where it was wanted.
    """
    images, classes, where = subject.images, list(subject.classes), subject.layers
    with ExitStack() as built:
        theirs = {  # each on a model of its own, for one extractor's hooks would slow down the others
            m: built.enter_context(
                peers.grad_cam(METHODS[m].oracle, subject.apart(m), where, images, classes)
            )
            for m in (methods if reference != "none" else ())
        }

        def expected() -> dict[str, Any]:
            return {m: maps() for m, maps in theirs.items()} or in_float64(subject, methods)

        yield {
            "ours": lambda: explain(
                subject.model, images, methods, where, classes, semantics="grad-cam", layout=subject.layout
            ),
            "against": expected if reference == "timed" else None,
            "truth": None if reference == "timed" else expected,
            "what": peers.grad_cam_name(", ".join(METHODS[m].oracle for m in methods)) if theirs else FLOAT64,
            "exact": (lambda: exactly(subject, methods)) if theirs else None,
            "forward": subject.forward,
            "judge": judge,
            "allowed": agree_within(methods),
            "absent": {REFERENCE: without} if without else {},
            "images": len(images),
            "revision": max(METHODS[m].revision for m in methods),
            "peers": {
                name: built.enter_context(
                    arm(methods[0], subject.apart(name), subject.layer, images, classes)
                )
                for name, (offered, arm) in PEERS.items()
                if name in beside and len(methods) == 1 and methods[0] in offered
            },
            "notes": lambda ours: [f"{m}: {route}" for m, route in ours.route.items()],
            "pictures": lambda ours, found: pictures(subject, ours, found, "grad-cam" if theirs else FLOAT64),
        }


def pictures(
    subject: Subject, ours: Explanation, expected: dict[str, Any], source: str
) -> dict[str, torch.Tensor]:
    """The first image with each map of it. ``source``: where the expected ones are from."""
    shown = {"image": subject.pixels[0].permute(1, 2, 0)}
    for m, maps in expected.items():
        shown |= {f"{m}, xaimed": ours.maps[m][0], f"{m}, {source}": torch.as_tensor(maps[0])}
    return shown


def exactly(subject: Subject, methods: tuple[str, ...]) -> dict[str, Any]:
    """grad-cam's maps in float64: how much of a difference its own rounding explains."""
    model, images = subject.apart("float64").double(), subject.images.double()
    found = {}
    for m in methods:
        with peers.grad_cam(METHODS[m].oracle, model, subject.layers, images, subject.classes) as maps:
            found[m] = maps()
    return found


def in_float64(subject: Subject, methods: tuple[str, ...]) -> dict[str, Any]:
    """xaimed's own maps in float64 on the CPU, where every formula is plain torch."""
    model, images = copy.deepcopy(subject.model).cpu().double(), subject.images.cpu().double()
    found = explain(
        model,
        images,
        methods,
        subject.layers,
        list(subject.classes),
        semantics="grad-cam",
        layout=subject.layout,
    )
    return {m: found.maps[m].numpy() for m in methods}


def judge(ours: Explanation | dict[str, Any] | torch.Tensor, expected: dict[str, Any]) -> Fidelity:
    """Maps against maps; where the sign is the reference's accident, each image is judged by the nearer of the two."""
    match ours:
        case Explanation():
            mine = [nearer_sign(ours, m, expected[m]) for m in expected]
        case torch.Tensor():
            mine = [ours.cpu()]
        case _:
            mine = [ours[m] for m in expected]
    return of_maps(np.concatenate(mine), np.concatenate(list(expected.values())))

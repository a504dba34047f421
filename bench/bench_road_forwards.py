"""What `road` costs beside the forwards that it cannot do without: each image as it is and perturbed, in batches of 4.

The column "forwards" is xaimed's time over theirs. With "known" the outputs of the images as they are were given.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from xaimed_bench.measure import of_values
from xaimed_bench.measure.subject import Subject
from xaimed_core import explain, road
from xaimed_core.faithfulness import Impute, masks_of, remove

REMOVED = (0.2, 0.4, 0.6, 0.8)
NOISE = 0.01
CHEAPEST = 4  # rows of a forward, on a CPU
SCORES_AGREE = 1e-5  # of a probability


def cases(profile: str) -> list[tuple[str, str, str, str]]:
    """(model, size, batch, outputs)."""
    match profile:
        case "gate":
            return [("resnet18", "112", "4", "sought")]
        case "quick":
            return [("resnet50", "224", "4", "sought")]
        case _:
            models = (("resnet50", "4"), ("efficientnet_b0", "4"), ("efficientnet_b0", "32"))
            return [(model, "224", batch, o) for model, batch in models for o in ("sought", "known")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "outputs" in metafunc.fixturenames:
        metafunc.parametrize("model, size, batch, outputs", cases(metafunc.config.getoption("--profile")))


def bench_road_beside_its_forwards(measure, subjects, model, size, batch, outputs):
    subject = subjects.get(model, "last", batch=int(batch), size=int(size))
    e = explain(subject.model, subject.images, "layercam", subject.layer, subject.classes)
    known = e.logits if outputs == "known" else None
    needed = 2 * len(REMOVED) + (known is None)
    measure(
        lambda: road(subject.model, subject.images, e, before=known, noise=NOISE, progress=False).curve,
        truth=partial(one_perturbation_at_a_time, subject, e.maps["layercam"]),
        judge=partial(of_values, name="probabilities", scale=1.0),
        allowed=SCORES_AGREE,
        forward=partial(in_fours, subject, needed),
        images=int(batch),
        notes=lambda _: [f"the forward column runs each image {needed} times, {CHEAPEST} rows at a time"],
    )


@torch.no_grad()
def in_fours(subject: Subject, times: int) -> None:
    for _ in range(times):
        for part in subject.images.split(CHEAPEST):
            subject.model(part)


@torch.no_grad()
def one_perturbation_at_a_time(subject: Subject, maps: Tensor) -> Tensor:
    """Probabilities ``[n, o, f]`` of the images' classes, by a plain loop; noise of seed 0 as `road` draws it."""
    masks = masks_of(maps, REMOVED, ("lerf", "morf")).keep.flatten(1, 2)
    n, count = masks.shape[:2]
    found: list[Tensor] = []
    for k in range(count):
        seeds = [i * count + k for i in range(n)]
        images = remove(subject.images, masks[:, k], Impute(NOISE), seeds)
        each = torch.cat([subject.model(part) for part in images.split(CHEAPEST)]).softmax(1)
        found.append(each[range(n), subject.classes])
    return torch.stack(found, 1).view(n, 2, -1)

"""What ROAD costs: filling removed pixels, and the whole metric, beside grad-cam's.

For the metric the column "forwards" is in forward passes of the perturbed images, all of them: what no ROAD can save.
For filling it is in plain forward passes of the images that are filled, on a GPU in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from xaimed_bench.device import device_named
from xaimed_bench.measure import of_values
from xaimed_bench.measure.subject import Subject
from xaimed_core import explain
from xaimed_core.compat.metrics.road import ROADCombined
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget
from xaimed_core.faithfulness import masks_of
from xaimed_kernels.impute import impute

KEPT = ("20", "50", "80")  # percent
PERCENTILES = [20, 40, 60, 80]  # of grad-cam's tutorial
IMPUTED_AGREE = 1e-4  # of the largest pixel: both solve one system, grad-cam directly in float64
SCORES_AGREE = 1e-4  # of the largest score


def imputations(profile: str, *, cuda: bool) -> list[tuple[str, str, str]]:
    """(kept, size, batch); grad-cam assembles and factorises one system per image, half a second or so at 224."""
    match profile:
        case "gate":
            return [(kept, "128", "2") for kept in KEPT]
        case "quick":
            return [(kept, "224", "8" if cuda else "2") for kept in KEPT]
        case _:
            sizes = [(kept, size, "8") for size in ("112", "224", "448") for kept in KEPT]
            return sizes + [("50", "224", batch) for batch in ("1", "64" if cuda else "32")]


def scorings(profile: str) -> list[tuple[str, str, str]]:
    """(model, size, batch); grad-cam solves 8 systems an image and runs 16 forwards of one image each."""
    small, whole = ("resnet18", "112", "2"), ("resnet50", "224", "1")
    return [small] if profile == "gate" else [small, whole]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kept" in metafunc.fixturenames:
        cuda = device_named(metafunc.config.getoption("--device")).type == "cuda"
        profile = metafunc.config.getoption("--profile")
        metafunc.parametrize("kept, size, batch", imputations(profile, cuda=cuda))
    elif "model" in metafunc.fixturenames:
        metafunc.parametrize("model, size, batch", scorings(metafunc.config.getoption("--profile")))


def bench_imputing_removed_pixels(measure, subjects, kept, size, batch):
    subject = subjects.get("resnet50", "last", batch=int(batch), size=int(size))
    maps = explain(subject.model, subject.images, "layercam", subject.layer, subject.classes).maps["layercam"]
    keep = masks_of(maps, [1 - int(kept) / 100], ["morf"]).keep[:, 0, 0]
    measure(
        lambda: impute(subject.images, keep),
        against=lambda: their_imputation(subject.images, keep),
        what="grad-cam NoisyLinearImputer, noise 0",
        forward=partial(inference, subject),
        judge=partial(of_values, name="filled pixels"),
        allowed=IMPUTED_AGREE,
        images=len(keep),
        notes=lambda ours: [f"{1 - keep.float().mean().item():.4f} of the pixels were removed"],
    )


def bench_scoring_maps_by_road(measure, subjects, monkeypatch, model, size, batch):
    subject = subjects.get(model, "last", batch=int(batch), size=int(size))
    maps = explain(subject.model, subject.images, "layercam", subject.layer, subject.classes).maps["layercam"]
    targets = [ClassifierOutputTarget(k) for k in subject.classes]
    metric = ROADCombined(PERCENTILES, noise=0.0)

    def ours() -> Any:
        return metric(subject.images, maps.cpu().numpy(), targets, subject.model)

    perturbed = record_inputs(subject.model, ours)
    measure(
        ours,
        against=their_road(subject.images, maps.cpu().numpy(), targets, subject.apart("road"), monkeypatch),
        what="grad-cam ROADCombined, noise 0",
        forward=partial(run_all, subject.model, perturbed),
        judge=partial(of_values, name="scores"),
        allowed=SCORES_AGREE,
        images=len(subject.images),
        revision=2,  # of what "forwards" counts
        notes=lambda _: [
            f"{sum(map(len, perturbed))} perturbed images; the forward column runs exactly these"
        ],
    )


def record_inputs(model: torch.nn.Module, call: Callable[[], Any]) -> list[Tensor]:
    """The batches that a call puts through a model."""
    seen: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    try:
        call()
    finally:
        handle.remove()
    return seen


@torch.no_grad()
def run_all(model: torch.nn.Module, batches: list[Tensor]) -> None:
    for batch in batches:
        model(batch)


def inference(subject: Subject) -> Tensor:
    """The plain forward pass in the precision that the device runs inference in."""
    device = subject.images.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        return subject.forward()


def their_imputation(images: Tensor, keep: Tensor) -> Tensor:
    """As grad-cam does it: image by image, on the CPU."""
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    fill = NoisyLinearImputer(noise=0.0)
    return torch.stack(
        [fill(image.cpu(), mask.float().cpu()) for image, mask in zip(images, keep, strict=True)]
    )


def their_road(
    images: Tensor, maps: Any, targets: list[Any], model: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    """grad-cam's metric; its noise has no seed and no argument, so that it is taken out of the default."""
    from pytorch_grad_cam.metrics import road

    monkeypatch.setattr(road.NoisyLinearImputer.__init__, "__defaults__", (0.0, []))
    metric = road.ROADCombined(PERCENTILES)
    return lambda: metric(images, maps, targets, model)

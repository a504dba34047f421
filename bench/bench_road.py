"""What ROAD costs: filling removed pixels, and the whole metric, beside grad-cam's.

For the metric the column "forwards" is in forward passes of the perturbed images, all of them: what no ROAD can save.
For filling it is in plain forward passes of the images that are filled, on a GPU in bfloat16.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from xaimed_bench.device import device_named
from xaimed_bench.measure import of_values
from xaimed_bench.measure.subject import Subject
from xaimed_bench.questions.scoring import scoring
from xaimed_core import explain
from xaimed_core.faithfulness import masks_of
from xaimed_kernels.impute import impute

# grad-cam's ROAD gives NumPy tensors; nobody who runs this can mend that
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

KEPT = ("20", "50", "80")  # percent
IMPUTED_AGREE = 1e-4  # of the largest pixel: both solve one system, grad-cam directly in float64


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


def bench_scoring_maps_by_road(measure, subjects, model, size, batch):
    with scoring(subjects.get(model, "last", batch=int(batch), size=int(size))) as question:
        measure(**question)


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

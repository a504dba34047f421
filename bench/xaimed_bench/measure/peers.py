"""Other packages as arms of a measurement, each in its best documented use.

Every arm returns maps ``[n, h, w]`` in [0, 1] of the images' size. The extractor is built once; what it leaves on
the model (hooks, replaced layers) is removed when the block ends. Give each package a model of its own, for the
hooks of one slow down the others.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xaimed_core.contrast import NEAREST
from xaimed_core.methods.weighing.randomcam import weights as random_weights
from xaimed_core.semantics import MIN_MAX_EPS
from xaimed_kernels.rescale_maps import rescale_maps

Maps = Callable[[], Any]

TORCHCAM = {
    "gradcam": "GradCAM",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "finercam": "FinerCAM",
    "refinecam": "RefineCAM",
    "sscam": "SSCAM",
    "iscam": "ISCAM",
}
"""xaimed's name to torch-cam's class. The last four depart from xaimed's definition: see `Question.unlike`.

Its GradCAM++ is left out: it loses a division of the paper's equation 19.
"""
_AS_HERE = {"sscam": {"num_samples": 10}}
"""What its constructors are given beside their defaults, so that they do as many forwards as xaimed."""
CAPTUM = {"gradcam": "LayerGradCam"}


@contextmanager
def grad_cam(
    oracle: str, model: nn.Module, layers: Sequence[str], images: Tensor, classes: Sequence[int]
) -> Generator[Maps]:
    """The class ``oracle`` of grad-cam at these layers, with 32 rows per forward where the method probes channels.

    Progress bars are off. Where an operation behind the layer works in place (DenseNet), the layer hands it a copy:
    it would else overwrite the activations that grad-cam keeps, and its definition needs the layer's own output.
    """
    package = importlib.import_module("pytorch_grad_cam")
    target = importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    with _no_progress_bars(), ExitStack() as built:
        cam = getattr(package, oracle)(
            model=model, target_layers=[model.get_submodule(name) for name in layers]
        )
        for one in getattr(cam, "base_cam_per_layer", [getattr(cam, "base_cam", cam)]):
            built.callback(one.activations_and_grads.release)
        cam.batch_size = 32
        built.enter_context(_the_same_draw())
        for name in layers:
            if overwritten(model, name, images):
                built.enter_context(model.get_submodule(name).register_forward_hook(_copied))
        targets = [target(c) for c in classes]
        if oracle == "FinerCAM":
            targets = _against_the_nearest(model, images, classes)
        yield lambda: cam(input_tensor=images, targets=targets)


def _against_the_nearest(model: nn.Module, images: Tensor, classes: Sequence[int]) -> list[Any]:
    """FinerCAM's own targets for any class: grad-cam makes them itself for the top class alone."""
    target = importlib.import_module("pytorch_grad_cam.utils.model_targets").FinerWeightedTarget
    with torch.no_grad():
        logits = model(images)
    found: list[Any] = []
    for row, main in zip(logits, classes, strict=True):
        nearest = (row - row[main]).abs().argsort(stable=True).tolist()
        nearest.remove(main)
        found.append(target(main, nearest[:NEAREST], 1.0))
    return found


@contextmanager
def _the_same_draw() -> Generator[None]:
    """RandomCAM's numbers from xaimed's draw in place of numpy's, so that the two can be compared."""
    drawn = np.random.uniform

    def uniform(low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        if (low, high) == (-1, 1) and size is not None and len(size) == 2:
            return random_weights(torch.empty(*size, 1)).numpy()
        return drawn(low, high, size)

    np.random.uniform = uniform
    try:
        yield
    finally:
        np.random.uniform = drawn


@contextmanager
def some_ablations(
    model: nn.Module,
    layer: str,
    images: Tensor,
    classes: Sequence[int],
    *,
    batches: int,
    batch_size: int = 32,
    to_zero: bool = False,
) -> Generator[Callable[[], Tensor]]:
    """grad-cam's AblationCAM as a user runs it, but ``batches`` of its ablation batches, shared out over the images.

    Which channels are ablated is its ablation layer's to say, the package's own extension point; a batch costs the
    same whichever they are. The arm returns the channel weights ``[n, c]``, NaN where no ablation was made.
    ``to_zero``: ablate to zero, not to the minimum less 1e7 where a layer has activations below zero.
    """
    package = importlib.import_module("pytorch_grad_cam")
    layers = importlib.import_module("pytorch_grad_cam.ablation_layer")
    counts = [batches // len(images) + (i < batches % len(images)) for i in range(len(images))]

    class FirstChannels(layers.AblationLayer):
        """Ablates the first channels of each image, so many batches as it has been given."""

        def activations_to_be_ablated(self, activations: Any, ratio_channels_to_ablate: float = 1.0) -> Any:
            self.counts = [*self.counts[1:], self.counts[0]]
            self.indices = np.arange(min(self.counts[-1] * batch_size, len(activations)), dtype=np.int32)
            return self.indices

        def __call__(self, x: Tensor) -> Tensor:
            if not to_zero:
                return super().__call__(x)
            for i in range(len(self.activations)):
                self.activations[i, self.indices[i], :] = 0
            return self.activations

    class Watched(package.AblationCAM):
        """Keeps the weights, which the map would mix."""

        def get_cam_weights(self, *arguments: Any) -> Any:
            self.found = super().get_cam_weights(*arguments)
            return self.found

    ablations = FirstChannels()
    ablations.counts = counts
    target = importlib.import_module("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
    with _no_progress_bars(), ExitStack() as built:
        cam = Watched(model, [model.get_submodule(layer)], ablation_layer=ablations, batch_size=batch_size)
        built.callback(cam.activations_and_grads.release)
        targets = [target(c) for c in classes]

        def weights() -> Tensor:
            cam(input_tensor=images, targets=targets)
            found = torch.as_tensor(cam.found).clone()
            for row, count in zip(found, counts, strict=True):
                row[count * batch_size :] = torch.nan
            return found

        yield weights


@torch.no_grad()
def overwritten(model: nn.Module, layer: str, images: Tensor) -> bool:
    """Whether a later operation of the model writes into the layer's output in place."""
    seen: list[tuple[Tensor, int]] = []

    def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen.append((output, output._version))

    with model.get_submodule(layer).register_forward_hook(note):
        model(images)
    return any(output._version > version for output, version in seen)


def grad_cam_name(oracle: str) -> str:
    """The reference in words, e.g. "grad-cam 1.5.7 XGradCAM"."""
    return f"grad-cam {version('grad-cam')} {oracle}"


@contextmanager
def torch_cam(
    method: str, model: nn.Module, layer: str | list[str], images: Tensor, classes: Sequence[int]
) -> Generator[Maps]:
    """torch-cam's extractor of one of xaimed's methods (see `TORCHCAM`), its map brought to the images' size."""
    made = getattr(importlib.import_module("torchcam.methods"), TORCHCAM[method])
    extractor = made(model, layer, **_AS_HERE.get(method, {}))

    def maps() -> Tensor:
        scores = model(images)
        return _finished(extractor(class_idx=list(classes), scores=scores)[0], images)

    with extractor:
        yield maps


@contextmanager
def captum(
    method: str, model: nn.Module, layer: str, images: Tensor, classes: Sequence[int]
) -> Generator[Maps]:
    """Captum's attribution of one of xaimed's methods (see `CAPTUM`), its map brought to the images' size."""
    attribution = getattr(importlib.import_module("captum.attr"), CAPTUM[method])(
        model, model.get_submodule(layer)
    )
    target = torch.tensor(list(classes), device=images.device)
    yield lambda: _finished(attribution.attribute(images, target=target).detach().squeeze(1), images)


def _copied(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.clone()


def _finished(raw: Tensor, images: Tensor) -> Tensor:
    """ReLU, min-max, bilinear resize, min-max: what grad-cam does after its weighted sum."""
    return rescale_maps(raw.float(), images.shape[2:], eps=MIN_MAX_EPS).maps


@contextmanager
def _no_progress_bars() -> Generator[None]:
    """grad-cam draws a bar per image in these modules and offers no switch."""
    modules: list[Any] = [
        importlib.import_module(f"pytorch_grad_cam.{name}") for name in ("ablation_cam", "score_cam")
    ]
    kept = [module.tqdm for module in modules]
    for module in modules:
        module.tqdm = SimpleNamespace(tqdm=lambda items: items)
    try:
        yield
    finally:
        for module, tqdm in zip(modules, kept, strict=True):
            module.tqdm = tqdm

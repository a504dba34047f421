"""Networks to judge maps on: seeded features, and a classifier really fitted to images, in a minute on a CPU.

Real images and phantoms are learnt together: the phantoms' lesions are known, so that maps can be judged by where they
point; the real images are what was asked about. The classes are the folder's, then phantoms without and with a lesion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_core.data import phantoms
from xaimed_core.measure.quality import Scene
from xaimed_core.models import MODELS, build_model, classifier_of
from xaimed_core.study.split import split_of
from xaimed_core.study.training import accuracy

BATCH = 32
HELD_OUT = 0.2
"""The part of the training images that decides how strongly the classifier is held back."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Of the squared weights, for features of unit spread."""


@final
@dataclass(frozen=True)
class Recipe:
    """How many images. ``real``, ``phantoms``: to learn from; ``tested``: of each kind, to tell how often it is right.

    ``judged``: those of each kind whose maps are judged; ``size``: pixels a side.
    """

    real: int = 1200
    phantoms: int = 300
    tested: int = 96
    judged: int = 12
    size: int = 224
    seed: int = 0


@final
@dataclass(frozen=True)
class Trained:
    """A network's weights, in a file, and what its maps are judged on: the real images first, if there are any."""

    checkpoint: Path
    scenes: tuple[Scene, ...]


@final
@dataclass(frozen=True)
class _Images:
    """Images with labels in the network's classes; the lesions of phantoms."""

    images: Tensor
    labels: Tensor
    lesions: Tensor | None = None


@final
class Trainer:
    """Fits networks of `MODELS` to one folder of images (None: phantoms alone), keeping their weights in ``kept``."""

    def __init__(
        self, data: Path | None, name: str, kept: Path, recipe: Recipe, say: Callable[[str], None] = print
    ) -> None:
        """``name``: what the folder's images are called in words that others read."""
        self._recipe, self._kept, self._name, self._say = recipe, kept, name, say
        real, self._test, classes = self._real(data) if data is not None else (None, None, 0)
        made = self._phantoms(recipe.phantoms, 1, classes)
        self._ill = self._phantoms(2 * recipe.tested, 2, classes)
        self._learnt = _together(real, made, recipe.seed)
        self._classes = classes + 2

    def _real(self, data: Path) -> tuple[_Images, _Images, int]:
        how = self._recipe
        found = split_of(data, size=how.size, train=how.real, test=max(how.tested, how.judged), seed=how.seed)
        seen, unseen = _Images(found.images, found.labels), _Images(found.test_images, found.test_labels)
        return seen, unseen, len(found.classes)

    def _phantoms(self, count: int, stream: int, classes: int) -> _Images:
        how = self._recipe
        made = phantoms("mri", count, size=how.size, seed=how.seed + stream, healthy=0.5)
        assert made.labels is not None
        assert made.masks is not None
        return _Images(made.images, made.labels + classes, made.masks.bool())

    def get(self, architecture: str) -> Trained:
        """The network of this architecture, from its file where it has been fitted to the same images before."""
        file = self._kept / f"{architecture}-{self._digest()}.pt"
        if not file.exists():
            self._say(
                f"fitting {architecture} to {len(self._learnt.images)} images; its weights will be kept"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            model = build_model(architecture, classes=self._classes, seed=self._recipe.seed)
            fit_classifier(model, self._learnt.images, self._learnt.labels)
            torch.save(model.state_dict(), file)
        return Trained(
            file, self._scenes(MODELS[architecture].title, build_model(architecture, checkpoint=file))
        )

    def _digest(self) -> str:
        """What the weights follow from: the recipe and the images' own bytes."""
        told = hashlib.sha256(repr((self._recipe, HELD_OUT, PENALTIES, self._classes)).encode())
        told.update(self._learnt.images[:, :, ::16, ::16].contiguous().numpy().tobytes())
        return told.hexdigest()[:12]

    def _scenes(self, title: str, model: nn.Module) -> tuple[Scene, ...]:
        how, real, made = self._recipe, self._test, self._ill
        right = f"{accuracy(model, made.images, made.labels):.0%} of {len(made.images)} phantoms"
        learnt = f"{how.phantoms} phantoms"
        if real is not None:
            right = f"{accuracy(model, real.images, real.labels):.0%} of {len(real.images)} test images and {right}"
            learnt = f"{how.real} training images of {self._name} and {learnt}"
        words = f"{title}, its features seeded, its classifier fitted to {learnt}, is right about {right}"
        lesion = self._classes - 1
        rows = (made.labels == lesion).nonzero().squeeze(1)[: how.judged]
        assert made.lesions is not None
        known = Scene(
            "phantoms with a known lesion",
            words,
            made.images[rows],
            (lesion,) * len(rows),
            made.lesions[rows],
        )
        if real is None:
            return (known,)
        images = real.images[: how.judged]
        with torch.no_grad():
            top = tuple(model(images).argmax(1).tolist())
        return Scene(f"test images of {self._name}", words, images, top), known


def _together(real: _Images | None, made: _Images, seed: int) -> _Images:
    """Both in one random order."""
    parts = [part for part in (real, made) if part is not None]
    images, labels = torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return _Images(images[order], labels[order])


def fit_classifier(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Fit the last linear layer, in place, to ``images [n, 3, h, w]`` by multinomial logistic regression.

    The penalty on its weights is the one of `PENALTIES` that does best on the last `HELD_OUT` of the images.
    """
    head = classifier_of(model)
    features = _features(model, head, images)
    mean, spread = features.mean(0), features.std(0).clamp_min(1e-6)
    scaled = (features - mean) / spread
    kept = int(len(scaled) * (1 - HELD_OUT))
    losses = {
        penalty: _loss(
            *_regression(scaled[:kept], labels[:kept], penalty, head.out_features),
            scaled[kept:],
            labels[kept:],
        )
        for penalty in PENALTIES
    }
    weight, bias = _regression(scaled, labels, min(losses, key=lambda p: losses[p]), head.out_features)
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - (weight / spread) @ mean)


@torch.no_grad()
def _features(model: nn.Module, head: nn.Linear, images: Tensor) -> Tensor:
    """What the classifier reads, ``[n, in]``; forwards in bfloat16 where torch holds that safe."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, inputs: Any) -> None:
        seen.append(inputs[0].float())

    hook = head.register_forward_pre_hook(keep)
    try:
        for part in images.split(BATCH):
            with torch.autocast(images.device.type, torch.bfloat16):
                model(part)
    finally:
        hook.remove()
    return torch.cat(seen)


def _regression(features: Tensor, labels: Tensor, penalty: float, classes: int) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = (
            functional.cross_entropy(features @ weight.T + bias, labels) + penalty * weight.square().sum() / 2
        )
        found.backward()
        return found

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def _loss(weight: Tensor, bias: Tensor, features: Tensor, labels: Tensor) -> float:
    return float(functional.cross_entropy(features @ weight.T + bias, labels))

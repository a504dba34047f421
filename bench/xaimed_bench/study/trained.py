"""Networks to judge maps on, trained from scratch in minutes on a CPU: poor classifiers that have learnt something.

Real images and phantoms are learnt together: the phantoms' lesions are known, so that maps can be judged by where they
point; the real images are what was asked about. The classes are the folder's, then phantoms without and with a lesion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_bench.data import phantoms
from xaimed_bench.measure.quality import Scene
from xaimed_bench.models import MODELS, build_model
from xaimed_bench.study.split import split_of
from xaimed_bench.study.training import accuracy, fit

RATE = 1e-3
"""The largest learning rate of either stage (AdamW, weight decay 0.05)."""


@final
@dataclass(frozen=True)
class Recipe:
    """How many images, and how often they are seen.

    ``real``, ``phantoms``: to learn from, ``epochs`` times at ``small`` pixels a side, then the first ``refined`` of
    them once at ``size``. ``tested``: of each kind, to tell how often it is right. ``judged``: those of each kind whose
    maps are judged.
    """

    real: int = 1600
    phantoms: int = 320
    epochs: int = 2
    small: int = 128
    refined: int = 1440
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
    """Trains networks of `MODELS` on one folder of images (None: phantoms alone), keeping their weights in ``kept``."""

    def __init__(
        self, data: Path | None, name: str, kept: Path, recipe: Recipe, say: Callable[[str], None] = print
    ) -> None:
        """``name``: what the folder's images are called in words that others read."""
        self._recipe, self._kept, self._name, self._say = recipe, kept, name, say
        real, self._test, classes = self._real(data) if data is not None else (None, None, ())
        made = self._phantoms(recipe.phantoms, 1, len(classes))
        self._ill = self._phantoms(2 * recipe.tested, 2, len(classes))
        self._learnt = _together(real, made, recipe.seed)
        self._classes = (*classes, "phantom without lesion", "phantom with lesion")

    def _real(self, data: Path) -> tuple[_Images, _Images, tuple[str, ...]]:
        how = self._recipe
        found = split_of(data, size=how.size, train=how.real, test=max(how.tested, how.judged), seed=how.seed)
        for finding in found.findings:
            self._say(f"note: {finding}")
        seen, unseen = _Images(found.images, found.labels), _Images(found.test_images, found.test_labels)
        return seen, unseen, found.classes

    def _phantoms(self, count: int, stream: int, classes: int) -> _Images:
        how = self._recipe
        made = phantoms("mri", count, size=how.size, seed=how.seed + stream, healthy=0.5)
        assert made.labels is not None
        assert made.masks is not None
        return _Images(made.images, made.labels + classes, made.masks.bool())

    def get(self, architecture: str, epochs: int | None = None) -> Trained:
        """The network of this architecture, from its file where it has been trained on the same images before.

        ``epochs``: at the small size, where not the recipe's.
        """
        epochs = epochs or self._recipe.epochs
        file = self._kept / f"{architecture}-{epochs}-{self._digest()}.pt"
        if not file.exists():
            self._say(
                f"training {architecture} on {len(self._learnt.images)} images; its weights will be kept"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            state = self._train(architecture, epochs).state_dict()
            torch.save({"state_dict": state, "classes": list(self._classes)}, file)
        return Trained(
            file, self._scenes(MODELS[architecture].title, epochs, build_model(architecture, checkpoint=file))
        )

    def _digest(self) -> str:
        """What the weights follow from: the recipe, the classes in their order, the images' own bytes and labels."""
        told = hashlib.sha256(repr((self._recipe, RATE, self._classes)).encode())
        told.update(self._learnt.images[:, :, ::16, ::16].contiguous().numpy().tobytes())
        told.update(self._learnt.labels.numpy().tobytes())
        return told.hexdigest()[:12]

    def _train(self, architecture: str, epochs: int) -> nn.Module:
        how, learnt = self._recipe, self._learnt
        small = functional.interpolate(learnt.images, size=how.small, mode="bilinear", antialias=True)
        some = slice(how.refined)
        with torch.random.fork_rng([]):
            torch.manual_seed(how.seed)
            model = MODELS[architecture].build(len(self._classes)).train()
            model = model.to(memory_format=torch.channels_last)
            start_as_identity(model)
            for images, labels, often in (
                (small, learnt.labels, epochs),
                (learnt.images[some], learnt.labels[some], 1),
            ):
                optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
                fit(model, images, labels, optimizer, epochs=often, rate=RATE, half=True, say=self._say)
        return model.eval().to(memory_format=torch.contiguous_format)

    def _right(self, model: nn.Module, tested: _Images) -> float:
        return accuracy(model, tested.images, tested.labels, self._classes)

    def _scenes(self, title: str, epochs: int, model: nn.Module) -> tuple[Scene, ...]:
        how, real, made = self._recipe, self._test, self._ill
        right = f"{self._right(model, made):.0%} of {len(made.images)} phantoms"
        learnt = f"{how.phantoms} phantoms"
        if real is not None:
            right = f"{self._right(model, real):.0%} of {len(real.images)} test images and {right}"
            learnt = f"{how.real} images of {self._name} and {learnt}"
        words = f"{title} trained from scratch, {epochs + 1} epochs on {learnt}, is right about {right}"
        lesion = len(self._classes) - 1
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


def start_as_identity(model: nn.Module) -> None:
    """Let every residual block of a ResNet add nothing at first (Goyal et al. 2017, arXiv 1706.02677)."""
    from torchvision.models.resnet import BasicBlock, Bottleneck  # loads PIL, so not at import

    for block in model.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            nn.init.zeros_(
                block.get_parameter("bn3.weight" if isinstance(block, Bottleneck) else "bn2.weight")
            )

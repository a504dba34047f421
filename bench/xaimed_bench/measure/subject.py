"""What is explained in a measurement: a model, its layer, a batch of images, and the classes asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from xaimed_bench.data import ImageBatch, load_images, phantoms
from xaimed_bench.models import MODELS, LayerRole, build_model
from xaimed_core.layout import LayoutLike

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@final
@dataclass(frozen=True)
class Subject:
    """One model with its images on one device, in one dtype.

    ``apart(name)`` is a copy of ``model`` with the same weights, kept under that name, for a package that puts hooks
    on it. ``layer``: its dotted name; several with commas between. ``classes``: the model's top class of each image.
    ``pixels``: the images as they look, ``[n, 3, h, w]`` in [0, 1], on the CPU. ``layout``: how the layer holds
    places, where not ``[n, c, *positions]``.
    """

    model: nn.Module
    apart: Callable[[str], nn.Module]
    layer: str
    images: Tensor
    classes: tuple[int, ...]
    pixels: Tensor
    layout: LayoutLike = None

    @property
    def layers(self) -> list[str]:
        return self.layer.split(",")

    def forward(self) -> Tensor:
        """The plain forward pass, as inference runs it."""
        with torch.no_grad():
            return self.model(self.images)


@final
class Subjects:
    """Builds subjects and keeps the last model, for cases that follow each other usually share it.

    ``data``: a folder of images, or None for phantoms. ``checkpoint``: a state dict, or None for seeded weights whose
    statistics are calibrated on phantoms.
    """

    def __init__(
        self, device: torch.device, *, data: Path | None = None, checkpoint: Path | None = None
    ) -> None:
        self._device = device
        self._data = data
        self._checkpoint = checkpoint
        self._models: dict[tuple[str, str], nn.Module] = {}
        self._copies: dict[str, nn.Module] = {}
        self._batches: dict[tuple[int, int], ImageBatch] = {}

    def get(
        self, model: str, role: LayerRole, *, batch: int, dtype: str = "fp32", size: int = 224
    ) -> Subject:
        """A subject of `MODELS`. ``role``: which of its layers. ``dtype``: of model and images, a key of `DTYPES`."""
        ours = self._model(model, dtype)
        found = self._images(batch, size)
        images = found.images.to(self._device, DTYPES[dtype])
        with torch.no_grad():
            classes = tuple(ours(images).argmax(1).tolist())
        return Subject(ours, self._apart, MODELS[model].layers[role], images, classes, found.pixels)

    def _model(self, name: str, dtype: str) -> nn.Module:
        if (name, dtype) not in self._models:
            self._copies.clear()
            self._models.clear()
            model = build_model(name, checkpoint=self._checkpoint)
            self._models[name, dtype] = model.to(self._device, DTYPES[dtype])
        return self._models[name, dtype]

    def _apart(self, name: str) -> nn.Module:
        (model,) = self._models.values()
        if name not in self._copies:
            self._copies[name] = copy.deepcopy(model)
        return self._copies[name]

    def _images(self, batch: int, size: int) -> ImageBatch:
        if (batch, size) not in self._batches:
            self._batches[batch, size] = (
                load_images(self._data, count=batch, size=size, progress=False)
                if self._data is not None
                else phantoms("mri", batch, size=size)
            )
        found = self._batches[batch, size]
        if len(found) < batch:
            raise ValueError(f"{batch} images are needed, the folder holds {len(found)} that can be read")
        return found

"""A pytest plugin under which grad-cam's own tests run on `xaimed_core.compat`: nothing of grad-cam is imported.

Networks have random weights, for the suite would download them, and its example picture, which the source package
lacks, is made.
"""

from __future__ import annotations

import copy
import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from PIL import Image
from torch import nn

from xaimed_core import compat

NETWORKS = ("resnet18", "vgg11")
PICTURE = Path("examples/both.png")


def pytest_configure() -> None:
    """Before the suite's files are imported, in the folder that it runs in."""
    sys.modules["pytorch_grad_cam"] = compat
    for found in pkgutil.walk_packages(compat.__path__, f"{compat.__name__}."):
        upstream = found.name.replace(compat.__name__, "pytorch_grad_cam")
        sys.modules[upstream] = importlib.import_module(found.name)
    for name in NETWORKS:
        setattr(torchvision.models, name, _without_weights(getattr(torchvision.models, name)))
    PICTURE.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (14, 20, 3), np.uint8)
    Image.fromarray(noise).resize((320, 224)).save(PICTURE)


def _without_weights(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """The network with random weights; drawing those of a VGG takes longer than most tests, so that they are copied."""
    once = functools.cache(build)

    @functools.wraps(build)
    def built(*_: Any, **__: Any) -> nn.Module:
        return copy.deepcopy(once())

    return built

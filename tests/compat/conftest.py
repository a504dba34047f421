"""Networks, images, and the real grad-cam package run as it was meant to: in-place operations off."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaimed_bench.data import PHANTOM_KINDS, phantoms
from xaimed_bench.models import build_model
from xaimed_core import METHODS
from xaimed_core.methods import Reduction

SIGNED = ("eigencam", "eigengradcam")
"""The SVD leaves their sign open."""
ONE_PASS = [
    method.oracle
    for method in METHODS.values()
    if method.oracle and method.of_one_pass and method.name not in SIGNED
]
"""Methods that grad-cam gives one map, at the price of a pass or two."""
REDUCTIONS = [
    method.oracle
    for method in METHODS.values()
    if isinstance(method.kind, Reduction) and method.slope == "score"
]
SPREAD = 0.02
"""The standard deviation that a map in [0, 1] needs before agreeing with it means anything."""


@functools.cache
def network(name: str) -> nn.Module:
    return build_model(name)


@functools.cache
def images(size: int, count: int = 3) -> Tensor:
    """Every kind of phantom in turn."""
    kinds = [PHANTOM_KINDS[i % len(PHANTOM_KINDS)] for i in range(count)]
    return torch.cat([phantoms(kind, 1, size=size, seed=3 + i).images for i, kind in enumerate(kinds)])


@contextlib.contextmanager
def without_inplace(model: nn.Module) -> Iterator[None]:
    """On a CPU grad-cam reads activations after a later in-place operation has changed them; prevent that.

    torchvision's DenseNet calls the functional ReLU in place, which no module's flag reaches.
    """
    inplace = [module for module in model.modules() if getattr(module, "inplace", False)]
    relu = torch.nn.functional.relu
    for module in inplace:
        module.inplace = False
    torch.nn.functional.relu = lambda tensor, inplace=False: torch.relu(tensor)
    try:
        yield
    finally:
        torch.nn.functional.relu = relu
        for module in inplace:
            module.inplace = True


def reference(
    name: str, model: nn.Module, layers: list[nn.Module], *call: object, **given: object
) -> np.ndarray:
    """Maps of grad-cam's class ``name``; ``reshape_transform`` and ``ablation_layer`` go to its constructor."""
    at_construction = {
        k: given.pop(k) for k in ("reshape_transform", "ablation_layer", "batch_size") if k in given
    }
    with without_inplace(model), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        cam = getattr(importlib.import_module("pytorch_grad_cam"), name)(model, layers, **at_construction)
        try:
            return cam(*call, **given)
        finally:
            getattr(cam, "base_cam", cam).activations_and_grads.release()


def assert_same_maps(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-4) -> None:
    """The same maps to ``tolerance``, and maps that show something: at least half have a spread.

    (A class that nothing in an image speaks for has an empty map, which must then be empty in both.)
    """
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    shown = theirs.std((1, 2)) > SPREAD
    assert shown.mean() >= 0.5, f"only {shown.sum()} of {len(shown)} reference maps show anything"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)

"""grad-cam's formulas on plain arrays, for ``get_cam_weights`` and ``get_cam_image``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaimed_core.methods import METHODS, Reduction
from xaimed_core.semantics import GRAD_CAM_FORMULAS
from xaimed_kernels.gradient_maps.reference import total

Array = NDArray[np.float32]


def reduction_weights(method: str, activations: Any, grads: Any) -> Array:
    """A reduction's weights of ``[n, c, *positions]``: ``[n, c]``, or one for each value where it weighs these."""
    a, g = (as_tensor(values) for values in (activations, grads))
    if a.shape != g.shape:
        raise ValueError(f"activations are {tuple(a.shape)} and grads {tuple(g.shape)}; they must be alike")
    return formula_weights(method, a, g).numpy()


def formula_weights(method: str, activations: Tensor, gradients: Tensor) -> Tensor:
    """The same of tensors alike."""
    kind = METHODS[method].kind
    assert isinstance(kind, Reduction)
    formula = GRAD_CAM_FORMULAS.get(method, kind.formula)
    a, g = activations.flatten(2), gradients.flatten(2)
    weights = formula.weights(a, g, total, a.shape[2])
    return weights[..., 0] if formula.per_channel else weights.reshape(activations.shape)


def weighted(weights: Any, activations: Any) -> Array:
    """Activations ``[n, c, *positions]`` times weights ``[n, c]`` or of their own shape."""
    a = as_tensor(activations)
    if a.ndim not in (4, 5):
        raise ValueError(f"activations must be [n, c, h, w] or [n, c, d, h, w], got {tuple(a.shape)}")
    w = as_tensor(weights)
    return (w.reshape(*w.shape[:2], *[1] * (a.ndim - 2)) * a if w.ndim == 2 else w * a).numpy()


def as_tensor(values: Any) -> Tensor:
    """Numbers on the CPU, without a graph."""
    return (values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))).detach().cpu()

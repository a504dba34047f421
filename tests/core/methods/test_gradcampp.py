"""GradCAM++ where its denominator vanishes."""

from __future__ import annotations

import pytest
import torch

from xaimed_core import METHODS
from xaimed_core.methods import Reduction
from xaimed_kernels.gradient_maps import gradient_maps


def test_a_falling_gradient_at_the_pole_weighs_nothing():
    """sum(A) g = -2 exactly, as happens among 100,000 float32 gradients: relu(g) = 0 decides, not the pole."""
    kind = METHODS["gradcam++"].kind
    assert isinstance(kind, Reduction)
    activations = torch.tensor([[[1.0, 3.0]]])
    gradients = torch.tensor([[[-0.5, 0.25]]])
    found = gradient_maps(activations, gradients, (kind.formula,), backend="reference")
    assert float(found.weights[0]) == pytest.approx(0.25 / 3, rel=1e-6)
    assert torch.isfinite(found.maps).all()

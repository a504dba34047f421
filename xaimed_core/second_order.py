"""ShapleyCAM's slope: the gradient with half a Hessian-vector product of the tail taken off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def bent(gradients: Sequence[Tensor], kept: Sequence[Tensor], *, again: bool) -> tuple[Tensor, ...]:
    """``g - H A / 2`` for each layer's output ``A`` in ``kept`` and its gradient ``g``, whose graph autograd kept.

    Source: arXiv 2501.06261. ``H``, the score's second derivative by ``A``, is never made: its product with ``A``
    is one backward more through the tail. It is 0 where the score is linear in ``A``. ``again``: whether the graph
    is still needed. Raises ValueError where an operation of the tail has no second derivative.
    """
    found: list[Tensor] = []
    for i, (gradient, activation) in enumerate(zip(gradients, kept, strict=True)):
        product = None
        if gradient.requires_grad:
            try:
                (product,) = torch.autograd.grad(
                    gradient,
                    activation,
                    grad_outputs=activation.detach(),
                    allow_unused=True,
                    retain_graph=again or i + 1 < len(kept),
                )
            except RuntimeError as error:
                raise ValueError(
                    f"shapleycam needs a second derivative that what follows the layer lacks ({error}); ask for gradcam"
                ) from error
        slope = gradient.detach()
        found.append(slope if product is None else slope - product / 2)
    return tuple(found)

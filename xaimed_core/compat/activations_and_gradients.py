"""As ``pytorch_grad_cam.activations_and_gradients``: what a subclass with hooks of its own reads at the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

ReshapeTransform = Callable[[Any], Tensor]
"""A layer's output, and its gradient, to ``[n, channels, height, width]``."""


class ActivationsAndGradients:
    """A forward pass that keeps the layers' outputs and, once a score is differentiated, its gradients there.

    ``activations`` and ``gradients`` lie in the order in which the layers ran, on the CPU and read by
    ``reshape_transform``; with ``detach=False`` they are the layers' own tensors, with their graph. What differs from
    grad-cam: hooks are on the model only while it runs, and an output is kept before any later in-place operation.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        detach: bool = True,
    ) -> None:
        self.model = model
        self.target_layers = list(target_layers)
        self.reshape_transform = reshape_transform
        self.detach = detach
        self.gradients: list[Tensor] = []
        self.activations: list[Tensor] = []

    def __call__(self, x: Tensor) -> Any:
        """What the model returns for ``x``."""
        self.clear()
        with ExitStack() as hooks:
            for layer in self.target_layers:
                hooks.enter_context(layer.register_forward_hook(self._keep))
            return self.model(x)

    def differentiate(self, loss: Tensor, images: Tensor) -> None:
        """Fill ``gradients``, and ``images.grad``, from a score of ``images``; parameters keep theirs."""
        with torch.enable_grad():
            (images.grad,) = torch.autograd.grad(
                loss, images, retain_graph=True, create_graph=not self.detach
            )

    def clear(self) -> None:
        """Forget everything."""
        self.activations, self.gradients = [], []

    def release(self) -> None:
        """Forget everything; there are no hooks to remove."""
        self.clear()

    def _keep(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        del module, inputs
        self.activations.append(self._shown(output))
        if not isinstance(output, Tensor):
            return output  # as the feature pyramid of a detection model, for which a transform makes maps
        if output.requires_grad:
            output.register_hook(lambda gradient: self.gradients.insert(0, self._shown(gradient)))
        return output.clone()  # the tail may write into it

    def _shown(self, values: Any) -> Tensor:
        if not self.detach:
            return values
        return (values if self.reshape_transform is None else self.reshape_transform(values)).detach().cpu()

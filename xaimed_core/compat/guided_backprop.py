"""As ``pytorch_grad_cam.guided_backprop``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.admission import admit_module, real_images
from xaimed_core.classes import whole_number


class GuidedBackpropReLUModel:
    """The image's gradient where every ReLU lets only rising gradients through (arXiv 1412.6806).

    As in grad-cam, modules ``nn.ReLU`` are guided and functional ReLUs are not. The model stays as it is: grad-cam
    leaves it with one new ReLU in the place of all.
    """

    def __init__(self, model: nn.Module, device: str | torch.device | None = None) -> None:
        self.model = admit_module(model).eval()
        if device is None:
            self.device = next(model.parameters()).device
        else:
            self.device = torch.device(device)
            self.model = self.model.to(self.device)

    def forward(self, input_img: Tensor) -> Tensor:
        """What the model returns."""
        return self.model(input_img)

    def __call__(self, input_img: Tensor, target_category: int | None = None) -> NDArray[Any]:
        """The gradient ``[h, w, channels]`` of the first image's score, by default of its top class."""
        images = real_images(input_img).detach().to(self.device).clone().requires_grad_()
        with ExitStack() as hooks, torch.enable_grad():
            for module in self.model.modules():
                if isinstance(module, nn.ReLU):
                    hooks.enter_context(module.register_forward_hook(_guide))
            output = self.forward(images)
            category = int(output[0].argmax()) if target_category is None else whole_number(target_category)
            if not -output.shape[1] <= category < output.shape[1]:
                raise IndexError(f"class {category} is out of range: the model has {output.shape[1]}")
            (gradient,) = torch.autograd.grad(output[0, category], images)
        return np.ascontiguousarray(gradient[0].permute(1, 2, 0).cpu().numpy())


def _guide(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """The ReLU's own backward then drops what does not reach a positive input."""
    del module, inputs
    passed = output.clone()
    if passed.requires_grad:
        passed.register_hook(lambda gradient: gradient.clamp(min=0))
    return passed

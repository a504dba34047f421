"""What is given, right and wrong: networks, images and maps."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from xaimed_core import explain

Row = tuple[Any, type[Exception], str]
"""What is given, the exception, and words that it must contain."""
Change = tuple[dict[str, Any], type[Exception], str]
"""What is changed in a call that works, the exception, and words that it must contain."""


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.late = nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.late(self.block(images).relu()).relu().mean((2, 3)))


class WithAges(nn.Module):
    """Takes a number of each patient beside the images."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor, ages: Tensor) -> Tensor:
        return pooled(self.block(images)) + ages


class Asking(Small):
    """Hooks a gradient in its own forward, as many examples of Grad-CAM do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        stem.register_hook(lambda gradient: gradient)
        return super().forward(stem)


class Returns(nn.Module):
    """A network that returns whatever is made of its layer ``block``, which ``aside`` sees too."""

    def __init__(self, made: Callable[[Tensor], Any], aside: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.block, self.made = nn.Conv2d(3, 4, 3, padding=1), made
        self.aside = Aside(aside or (lambda y: y))

    def forward(self, images: Tensor) -> Any:
        y = self.block(images)
        self.aside(y)
        return self.made(y)


class Aside(nn.Module):
    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.made = made

    def forward(self, y: Tensor) -> Any:
        return self.made(y)


def pooled(y: Tensor) -> Tensor:
    return y.mean((2, 3))


def filled(model: nn.Module, value: float) -> nn.Module:
    model.get_parameter("late.weight").data.fill_(value)
    return model


with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
    warnings.simplefilter("ignore")  # torch.jit and torch.export announce their own end
    torch.manual_seed(0)
    NET, OTHER = Small().eval(), Small().eval()
    X = torch.randn(3, 3, 20, 24)
    TRACED = torch.jit.trace(NET, X)
    EXPORTED = torch.export.export(NET, (X,))
    SCRIPT = torch.jit.script(nn.ReLU())
    SCRIPT_INSIDE = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), SCRIPT, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    NESTED = torch.nested.nested_tensor([X[0], X[1]])
    QUANTISED = torch.quantize_per_tensor(X, 0.1, 0, torch.quint8)
META = Small().to("meta")
LAZY = nn.Sequential(nn.LazyConv2d(4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
E = explain(NET, X, "xgradcam", "block", targets=1)
ONE_CLASS = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
TWO_METHODS = explain(NET, X, ("xgradcam", "gradcam"), "block")
ALL_CLASSES = explain(NET, X, "xgradcam", "block", targets="all")
M, N = E.maps["xgradcam"], E.maps["xgradcam"].numpy()
KEEP = M > 0
NAN, PICTURE, SCENE = torch.nan, Image.new("RGB", (24, 20)), np.ones((20, 24, 3))
ONE_HOT = torch.eye(5)[:3]
FIVE = list("abcde")

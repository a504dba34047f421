"""A small network, and images with two methods' maps."""

import torch
from torch import nn

SIZE = 24


def network(last=None):
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 5, stride=2),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(72, 4),
    ]
    model = nn.Sequential(*layers, *([last] if last else [])).eval()
    model[4].weight.data *= 5
    return model


def case(n=3):
    random = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, SIZE, SIZE, generator=random)
    maps = {name: torch.rand(n, SIZE, SIZE, generator=random) for name in ("first", "second")}
    return network(), images, maps

"""A small network with everything a hook can trip over: in-place ReLU, BatchNorm, dropout, a skip connection."""

import pytest
import torch
from torch import Tensor, nn


class SmallNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        )
        self.block = nn.Conv2d(6, 6, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.late = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        y = self.block(x)
        x = torch.relu_(y) + x
        x = torch.relu(self.late(self.dropout(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = SmallNet()
        net.stem[1].running_mean.uniform_(-0.2, 0.2)
        net.stem[1].running_var.uniform_(0.5, 1.5)
        net.head.weight.data *= 20  # logits of a trained size
    return net.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 20, 24, generator=torch.Generator().manual_seed(1))

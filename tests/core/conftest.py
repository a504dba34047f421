"""A small network with everything a hook can trip over: in-place ReLU, BatchNorm, dropout, a skip connection."""

import pytest
import torch
from torch import Tensor, nn

from tests.families.written import Block
from xaimed_core import METHODS, Tokens
from xaimed_core.methods import Attention, InputProbe, Windows

OF_ANY_NETWORK = [name for name, method in METHODS.items() if not isinstance(method.kind, Attention)]
"""Methods that a network without attention has a map of."""
AT_ONE_LAYER = [name for name in OF_ANY_NETWORK if METHODS[name].places != "layers"]
"""Those of them that one layer is enough for."""
FEW_FORWARDS = [name for name in AT_ONE_LAYER if not isinstance(METHODS[name].kind, InputProbe | Windows)]
"""Those of these that do not run the whole network for each channel or window."""


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


class Attentive(nn.Module):
    """Two transformer blocks over 5 x 6 patches and a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.blocks = nn.ModuleList([Block(16), Block(16)])
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.stem(images).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(patches), 1, 16), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])


def attentive() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Attentive().eval()


def fitting(method: str, net: nn.Module, layer: str) -> tuple[nn.Module, dict[str, object]]:
    """``net`` and how to explain it by the method; a transformer for methods of attention, two layers if need be."""
    if isinstance(METHODS[method].kind, Attention):
        return attentive(), {"layer": "blocks.1.norm1", "layout": Tokens((5, 6), 1)}
    return net, {"layer": layer if method in AT_ONE_LAYER else ["block", "late"]}


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

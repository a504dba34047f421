"""Networks that people write themselves, with the habits that trip hooks: folded frames, side inputs, tuples."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def convolutions(axes: int, *channels: int, stride: int = 2) -> nn.Sequential:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    pairs = itertools.pairwise(channels)
    return nn.Sequential(
        *(nn.Sequential(kind(a, b, 3, stride=stride, padding=1), nn.ReLU()) for a, b in pairs)
    )


class Pooled(nn.Module):
    """Convolutions, the mean over places, a linear layer."""

    def __init__(self, axes: int, *channels: int, stride: int = 2, classes: int = 5) -> None:
        super().__init__()
        self.features = convolutions(axes, *channels, stride=stride)
        self.norm = nn.GroupNorm(2, channels[-1])
        self.head = nn.Linear(channels[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.features(images))).flatten(2).mean(2))


class WithSideInput(nn.Module):
    """A wrapper that holds one row of a second input for each image, as is recommended for such networks."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.features = convolutions(2, 3, 8, 16)
        self.head = nn.Sequential(nn.Linear(16 + 4, 12), nn.Tanh(), nn.Linear(12, 5))
        self.side = torch.randn(images, 4)

    def forward(self, images: Tensor) -> Tensor:
        found = self.features(images).mean((2, 3))
        return self.head(torch.cat([found, self.side.to(found.dtype)], 1))


class FeaturesAndLogits(nn.Module):
    """Returns ``(features, logits)``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions(2, 3, 8, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.features(images).mean((2, 3))
        return found, self.head(found)


class OneNumber(nn.Module):
    """Returns one number for each image, ``[n]``, as a regression or a binary classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions(2, 3, 8, 16)
        self.head = nn.Linear(16, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3))).squeeze(1)


class FramesThenGRU(nn.Module):
    """``[n, t, h, w]``: the frames run through the convolutions as a batch of ``n t``, then in turn through a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions(2, 1, 8, 12)
        self.gru = nn.GRU(12, 10, batch_first=True)
        self.head = nn.Linear(10, 5)

    def forward(self, clips: Tensor) -> Tensor:
        n, t = clips.shape[:2]
        frames = self.features(clips.flatten(0, 1).unsqueeze(1)).mean((2, 3))
        return self.head(self.gru(frames.view(n, t, -1))[0][:, -1])


class KerasHead(nn.Module):
    """Flattens ``[n, h, w, c]``, as a network converted from Keras."""

    def __init__(self) -> None:
        super().__init__()
        self.features = convolutions(2, 3, 8, 12)
        self.head = nn.Sequential(nn.Linear(12 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 5))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).permute(0, 2, 3, 1).flatten(1))


class PartlyCompiled(nn.Module):
    """A network of which only the middle is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolutions(2, 3, 8)
        self.middle = torch.compile(convolutions(2, 8, 12), backend="eager")
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.middle(self.stem(images)).mean((2, 3)))


class Spectrogram(nn.Module):
    """Halves the frequencies four times and time twice: 64 x 512 becomes 4 x 128."""

    def __init__(self) -> None:
        super().__init__()
        strides = ((2, 2), (2, 2), (2, 1), (2, 1))
        sizes = ((1, 6), (6, 8), (8, 10), (10, 12))
        self.features = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, stride=stride, padding=1), nn.SiLU())
                for (a, b), stride in zip(sizes, strides, strict=True)
            )
        )
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).amax((2, 3)))


class Block(nn.Module):
    """Attention and a multilayer perceptron over tokens, each behind its norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm1(tokens)
        tokens = tokens + self.attention(x, x, x, need_weights=False)[0]
        return tokens + self.mlp(self.norm2(tokens))


class FramesThroughTransformer(nn.Module):
    """``[n, c, t, h, w]``: patches of each frame as tokens, the frames folded into the batch, the mean over them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.block = Block(16)
        self.head = nn.Linear(16, 5)

    def forward(self, clips: Tensor) -> Tensor:
        n, _, t = clips.shape[:3]
        tokens = self.patches(clips.transpose(1, 2).flatten(0, 1)).flatten(2).mT
        tokens = self.block(torch.cat([self.token.expand(n * t, 1, 16), tokens], 1))
        return self.head(tokens[:, 0].view(n, t, 16).mean(1))

"""ScoreCAM's weights: the score of the image seen through each channel's map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_core.targets import Targets, logits_of

ROWS = 16
"""Masked images per forward: beyond it neither a CPU nor a GPU gains, and memory grows."""


@torch.no_grad()
def masked_scores(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: Targets,
    rows: int = ROWS,
    align_corners: bool = False,
) -> Tensor:
    """Scores ``[n, c]`` of each image multiplied with each of its upsampled, min-max scaled channels.

    Source: Wang et al. 2020 (arXiv 1910.01279), eq. 6. images ``[n, channels, *size]``, maps ``[n, c, *positions]``.
    ``align_corners``: whether the corner pixels' centres are kept when channels are upsampled, as grad-cam does.
    A constant channel masks everything out. The model must be in evaluation mode.
    """
    size = images.shape[2:]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    scores = torch.empty(maps.shape[:2], dtype=torch.float32, device=images.device)
    for i in range(len(images)):
        for start in range(0, maps.shape[1], rows):
            channels = maps[i, start : start + rows].float().unsqueeze(1)
            masks = _min_max(
                functional.interpolate(channels, size=size, mode=mode, align_corners=align_corners)
            )
            logits = logits_of(model(images[i] * masks.to(images.dtype)))
            owner = torch.full((len(masks),), i, device=logits.device)
            scores[i, start : start + rows] = targets.score(logits, owner).float()
    return scores


def _min_max(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    low, high = (extreme.view(-1, *[1] * (maps.ndim - 1)) for extreme in (flat.amin(1), flat.amax(1)))
    spread = high - low
    return torch.where(spread > 0, (maps - low) / spread, torch.zeros_like(maps))

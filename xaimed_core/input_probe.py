"""ScoreCAM's weights: the score of the image seen through each channel's map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_core.outputs import OutputChoice
from xaimed_core.progress import Progress
from xaimed_core.rows import outputs_of_each, rows_per_forward
from xaimed_core.targets import Targets
from xaimed_kernels.rescale_maps.reference import min_max


@torch.no_grad()
def masked_scores(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: Targets,
    *,
    batch: int | None = None,
    align_corners: bool = False,
    output: OutputChoice = None,
    progress: bool = True,
) -> Tensor:
    """Scores ``[n, c]`` of each image multiplied with each of its upsampled, min-max scaled channels.

    Source: Wang et al. 2020 (arXiv 1910.01279), eq. 6. images ``[n, channels, *size]``, maps ``[n, c, *positions]``.
    ``align_corners``: whether the corner pixels' centres are kept when channels are upsampled, as grad-cam does.
    A constant channel masks everything out. The model must be in evaluation mode. Every forward holds all images in
    their order, channel by channel; ``batch`` (rows per forward) as in `xaimed_core.road`, ``output`` as in `explain`.
    """
    n, channels = maps.shape[:2]
    if n != len(images):
        raise ValueError(f"ScoreCAM needs one row of channels per image, got {n} for {len(images)} images")
    size = images.shape[2:]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]

    def masked(here: range) -> Tensor:
        positions = maps[:, here.start : here.stop].transpose(0, 1).flatten(0, 1).float().unsqueeze(1)
        resized = functional.interpolate(positions, size=size, mode=mode, align_corners=align_corners)
        masks, _ = min_max(resized)
        return (images * masks.to(images.dtype).unflatten(0, (len(here), n))).flatten(0, 1)

    rows = rows_per_forward(model, images, None, channels, batch, output)
    found: list[Tensor] = []
    with Progress("ScoreCAM", channels * n, "masked images", show=progress) as step:
        for outputs in outputs_of_each(model, masked, channels, n, rows, output):
            found.append(targets.score(outputs).float())
            step(n)
    return torch.stack(found, 1)

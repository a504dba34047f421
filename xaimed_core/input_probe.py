"""The weights of ScoreCAM, SS-CAM and IS-CAM: the score of the image seen through each channel's map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_core.outputs import OutputChoice
from xaimed_core.progress import Progress
from xaimed_core.rows import outputs_of_each, rows_per_forward
from xaimed_core.targets import Targets
from xaimed_kernels.rescale_maps.reference import min_max

SEED = 0


@torch.no_grad()
def masked_scores(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: Targets,
    *,
    scales: Sequence[float] = (1.0,),
    deviation: float = 0.0,
    align_corners: bool = False,
    eps: float = 0.0,
    output: OutputChoice = None,
    outputs: Tensor | None = None,
    progress: bool = True,
    title: str = "ScoreCAM",
    owner: nn.Module | None = None,
) -> Tensor:
    """Scores ``[n, c]`` of each image multiplied with each of its upsampled, min-max scaled channels.

    Source: Wang et al. 2020 (arXiv 1910.01279), eq. 6. images ``[n, channels, *size]``, maps ``[n, c, *positions]``.
    ``scales``, ``deviation``: the mean over ``len(scales)`` passes, the i-th with the mask times ``scales[i]`` plus
    normal noise: one seeded draw for a pass, the same for every channel and image.
    ``align_corners``: whether the corner pixels' centres are kept when channels are upsampled, as grad-cam does.
    ``eps``: added to a channel's range when it is scaled.
    A constant channel masks everything out. The model must be in evaluation mode. Every forward holds all images in
    their order, channel by channel; ``output`` as in `explain`, ``outputs`` and
    ``owner`` as in `rows_per_forward`.
    """
    n, channels = maps.shape[:2]
    if n != len(images):
        raise ValueError(f"ScoreCAM needs one row of channels per image, got {n} for {len(images)} images")
    size = images.shape[2:]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]

    passes = len(scales)
    noise = _noise(passes, size, deviation, images)

    def masked(here: range) -> Tensor:
        first, last = here.start // passes, (here.stop - 1) // passes + 1
        positions = maps[:, first:last].transpose(0, 1).flatten(0, 1).float().unsqueeze(1)
        resized = functional.interpolate(positions, size=size, mode=mode, align_corners=align_corners)
        masks = min_max(resized, eps)[0].to(images.dtype).unflatten(0, (last - first, n))
        if passes > 1:
            masks = torch.stack(
                [_varied(masks[q // passes - first], scales, noise, q % passes) for q in here]
            )
        return (images * masks).flatten(0, 1)

    rows = rows_per_forward(model, images, outputs, channels * passes, choice=output, owner=owner)
    found: list[Tensor] = []
    with Progress(title, channels * passes * n, "masked images", show=progress) as step:
        for outputs in outputs_of_each(model, masked, channels * passes, n, rows, output):
            found.append(targets.score(outputs).float())
            step(n)
    return torch.stack(found, 1).unflatten(1, (channels, passes)).mean(2)


def _noise(passes: int, size: Sequence[int], deviation: float, images: Tensor) -> Tensor | None:
    if deviation == 0:
        return None
    drawn = torch.randn((passes, *size), generator=torch.Generator().manual_seed(SEED), dtype=torch.float32)
    return (deviation * drawn).to(images)


def _varied(masks: Tensor, scales: Sequence[float], noise: Tensor | None, i: int) -> Tensor:
    """What the i-th pass shows the images through."""
    scaled = masks * scales[i]
    return scaled if noise is None else scaled + noise[i]

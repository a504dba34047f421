"""As ``pytorch_grad_cam.sess``: Saliency Enhancing with Scaling and Sliding (arXiv 2207.01769)."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from xaimed_core.admission import real_images
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base_cam import BaseCAM, Maps
from xaimed_core.compat.grad_cam import GradCAM
from xaimed_core.compat.utils.image import scale_cam_image
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget
from xaimed_core.targets import ScoreFunction

Place = tuple[int, int, int, int]
"""A window's left and top, and the width and height of the scaled image it was cut from."""

BLUR, SIGMA = 11, 5.0
"""The side of the Gaussian that smooths the map, and its standard deviation."""


class SESS:
    """A method's maps of windows slid over the image at several scales, weighed by their scores and averaged.

    ``base_method`` explains every window; what is left over goes to its constructor. ``scales``: lengths of the
    image's shorter side, by default ``num_scales`` from the window on in steps of ``scale_step_ratio`` windows.
    ``window_size``: by default the shorter side. ``step_size``: by default a window. ``pre_filter_ratio``: the share of
    windows of lowest score that is left out. ``pool``: "mean" over the windows whose map is above ``theta`` at a place,
    or "max". ``smooth``: whether the map is blurred. ``use_softmax_scores``: whether windows weigh by probability or by
    score. ``batch_size``: windows in a forward.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: ReshapeTransform | None = None,
        base_method: type[BaseCAM] = GradCAM,
        scales: Sequence[int] | None = None,
        num_scales: int = 12,
        scale_step_ratio: float = 2.0 / 7.0,
        window_size: int | None = None,
        step_size: int | None = None,
        pre_filter_ratio: float = 0.0,
        theta: float = 0.0,
        pool: Literal["mean", "max"] = "mean",
        smooth: bool = True,
        use_softmax_scores: bool = True,
        batch_size: int = 32,
        **kwargs: Any,
    ) -> None:
        if pool not in ("mean", "max"):
            raise ValueError(f'pool must be "mean" or "max", got {pool!r}')
        if not 0.0 <= pre_filter_ratio < 1.0:
            raise ValueError(f"pre_filter_ratio must be in [0, 1), got {pre_filter_ratio}")
        if num_scales < 1 or batch_size < 1 or (step_size is not None and step_size < 1):
            raise ValueError(
                f"num_scales, batch_size and step_size must be at least 1, got {num_scales}, {batch_size}, {step_size}"
            )
        self.base_cam = base_method(model, target_layers, reshape_transform, **kwargs)
        self.model = self.base_cam.model
        self.device = self.base_cam.device
        self.scales = scales
        self.num_scales = num_scales
        self.scale_step_ratio = scale_step_ratio
        self.window_size = window_size
        self.step_size = step_size
        self.pre_filter_ratio = pre_filter_ratio
        self.theta = theta
        self.pool = pool
        self.smooth = smooth
        self.use_softmax_scores = use_softmax_scores
        self.batch_size = batch_size

    def __call__(self, *args: Any, **kwargs: Any) -> Maps:
        """As `forward`."""
        return self.forward(*args, **kwargs)

    def forward(
        self, input_tensor: Tensor, targets: Sequence[ScoreFunction] | None = None, eigen_smooth: bool = False
    ) -> Maps:
        """Maps float32 ``[n, height, width]`` in [0, 1]; without targets each image's top class is explained."""
        images = real_images(input_tensor).detach().to(self.device)
        chosen = [None] * len(images) if targets is None else targets
        if len(chosen) != len(images):
            raise ValueError(f"{len(chosen)} targets for {len(images)} images; give one per image")
        maps = [
            self.forward_single_image(image[None], t, eigen_smooth)
            for image, t in zip(images, chosen, strict=True)
        ]
        return scale_cam_image(np.stack(maps))

    def forward_single_image(
        self, input_tensor: Tensor, target: ScoreFunction | None, eigen_smooth: bool = False
    ) -> Maps:
        """The fused map ``[height, width]`` of one image ``[1, channels, height, width]``."""
        height, width = input_tensor.shape[2:]
        window = min(height, width) if self.window_size is None else self.window_size
        target = self.get_target(input_tensor) if target is None else target
        patches, places = self.collect_patches(input_tensor, window, self.step_size or window)
        if (
            self.pre_filter_ratio > 0
        ):  # only then are scores needed before maps, for one forward more of each window
            scores = self.get_scores(patches, target)
            kept = np.argsort(scores)[int(len(scores) * self.pre_filter_ratio) :]
            patches, places = patches[kept], [places[index] for index in kept]
        maps, scores = self._explained(patches, target, eigen_smooth)
        weights = scores / scores.max() if scores.max() > 0 else np.ones_like(scores)
        total, count = torch.zeros(2, height, width)
        for map_, weight, place in zip(maps, weights, places, strict=True):
            pasted = torch.from_numpy(self.paste_cam(map_ * weight, place, (height, width)))
            if self.pool == "max":
                total = torch.maximum(total, pasted)
            else:
                above = pasted > self.theta
                total, count = total + pasted * above, count + above
        fused = total if self.pool == "max" else total / count.clamp(min=1)
        return (_blurred(fused) if self.smooth else fused).numpy()

    def _explained(
        self, patches: Tensor, target: ScoreFunction, eigen_smooth: bool
    ) -> tuple[list[Maps], NDArray[np.float32]]:
        """Each window's map and score, both of one forward."""
        maps: list[Maps] = []
        scores: list[NDArray[np.float32]] = []
        for batch in patches.split(self.batch_size):
            maps.extend(self.base_cam(batch, [target] * len(batch), eigen_smooth=eigen_smooth))
            scores.append(self._scores_of(self.base_cam.outputs, target))
        return maps, np.concatenate(scores)

    def get_scales(self, window_size: int) -> Sequence[int]:
        """The lengths of the shorter side."""
        if self.scales is not None:
            return self.scales
        step = round(window_size * self.scale_step_ratio)
        return [window_size + step * i for i in range(self.num_scales)]

    def collect_patches(
        self, input_tensor: Tensor, window_size: int, step_size: int
    ) -> tuple[Tensor, list[Place]]:
        """All windows ``[m, channels, window, window]`` of one image, and where each was cut."""
        patches: list[Tensor] = []
        places: list[Place] = []
        shorter = min(input_tensor.shape[2:])
        for scale in self.get_scales(window_size):
            if scale < window_size:
                raise ValueError(f"every scale must be at least the window's {window_size}, got {scale}")
            height, width = (int(scale * side / shorter) for side in input_tensor.shape[2:])
            scaled = input_tensor
            if (height, width) != tuple(input_tensor.shape[2:]):
                scaled = functional.interpolate(
                    input_tensor, (height, width), mode="bilinear", antialias=True
                )
            for x, y in sliding_window(height, width, step_size, window_size):
                patches.append(scaled[:, :, y : y + window_size, x : x + window_size])
                places.append((x, y, width, height))
        return torch.cat(patches), places

    @torch.no_grad()
    def get_target(self, input_tensor: Tensor) -> ScoreFunction:
        """The image's top class."""
        return ClassifierOutputTarget(int(self.model(input_tensor)[0].argmax()))

    @torch.no_grad()
    def get_scores(self, patches: Tensor, target: ScoreFunction) -> NDArray[np.float32]:
        """Each window's score, at least 0."""
        batches = patches.split(self.batch_size)
        return np.concatenate([self._scores_of(self.model(batch), target) for batch in batches])

    @torch.no_grad()
    def _scores_of(self, outputs: Tensor, target: ScoreFunction) -> NDArray[np.float32]:
        score = target(outputs.softmax(-1) if self.use_softmax_scores else outputs)
        return score.detach().clamp(min=0).float().cpu().numpy()

    def paste_cam(self, cam: NDArray[Any], coordinates: Place, target_size: tuple[int, int]) -> Maps:
        """A window's map put back where it was cut, at the image's size."""
        x, y, width, height = coordinates
        whole = torch.zeros(1, 1, height, width)
        whole[0, 0, y : y + cam.shape[0], x : x + cam.shape[1]] = torch.from_numpy(
            np.asarray(cam, np.float32)
        )
        if (height, width) != target_size:
            whole = functional.interpolate(whole, target_size, mode="bilinear", align_corners=False)
        return whole[0, 0].numpy()

    def __enter__(self) -> SESS:
        """Nothing is held between calls."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every exception through."""


def sliding_window(height: int, width: int, step_size: int, window_size: int) -> list[tuple[int, int]]:
    """Left and top of the windows that cover an image; the last of a row or column is moved back into it."""
    return [
        (x, y)
        for y in window_starts(height, step_size, window_size)
        for x in window_starts(width, step_size, window_size)
    ]


def window_starts(length: int, step_size: int, window_size: int) -> list[int]:
    """Where windows start along one axis."""
    last = max(length - window_size, 0)
    return [*range(0, last, step_size), last]


def _blurred(map_: Tensor) -> Tensor:
    """A Gaussian of `BLUR` pixels a side; borders are mirrored without the outermost pixel."""
    offsets = torch.arange(BLUR) - BLUR // 2
    taps = (-offsets.square() / (2 * SIGMA**2)).exp()
    taps = taps / taps.sum()
    padded = functional.pad(map_[None, None], [BLUR // 2] * 4, mode="reflect")
    along = functional.conv2d(padded, taps.view(1, 1, 1, -1))
    return functional.conv2d(along, taps.view(1, 1, -1, 1))[0, 0]

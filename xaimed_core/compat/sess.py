"""As ``pytorch_grad_cam.sess``: Saliency Enhancing with Scaling and Sliding (arXiv 2207.01769)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.admission import real_images
from xaimed_core.compat.activations_and_gradients import ReshapeTransform
from xaimed_core.compat.base.block import Block
from xaimed_core.compat.base_cam import BaseCAM, Maps
from xaimed_core.compat.grad_cam import GradCAM
from xaimed_core.compat.utils.image import scale_cam_image
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget
from xaimed_core.probes.windows import Place, cut, fused, lengths, paste, places_of
from xaimed_core.probes.windows import starts as window_starts
from xaimed_core.targets import ScoreFunction

Corner = tuple[int, int, int, int]
"""A window's left and top, and the width and height of the scaled image it was cut from."""


class SESS(Block):
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
        size = tuple(input_tensor.shape[2:])
        window = min(size) if self.window_size is None else self.window_size
        target = self.get_target(input_tensor) if target is None else target
        patches, places = self.collect_patches(input_tensor, window, self.step_size or window)
        if (
            self.pre_filter_ratio > 0
        ):  # only then are scores needed before maps, for one forward more of each window
            scores = self.get_scores(patches, target)
            kept = np.argsort(scores)[int(len(scores) * self.pre_filter_ratio) :]
            patches, places = patches[kept], [places[index] for index in kept]
        maps, scores = self._explained(patches, target, eigen_smooth)
        return fused(
            torch.from_numpy(np.stack(maps))[:, None],
            torch.from_numpy(scores)[:, None],
            [_as_place(place) for place in places],
            size,
            theta=self.theta,
            largest=self.pool == "max",
            smooth=self.smooth,
        )[0].numpy()

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
        return lengths(window_size, self.num_scales, self.scale_step_ratio)

    def collect_patches(
        self, input_tensor: Tensor, window_size: int, step_size: int
    ) -> tuple[Tensor, list[Corner]]:
        """All windows ``[m, channels, window, window]`` of one image, and where each was cut."""
        window, step = [window_size] * 2, [step_size] * 2
        size = tuple(input_tensor.shape[2:])
        places = list(places_of(size, window, step, self.get_scales(window_size)))
        corners: list[Corner] = []
        for place in places:
            (y, x), (height, width) = place.start, place.enlarged
            corners.append((x, y, width, height))
        return cut(input_tensor, places, window), corners

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

    def paste_cam(self, cam: NDArray[Any], coordinates: Corner, target_size: tuple[int, int]) -> Maps:
        """A window's map put back where it was cut, at the image's size."""
        map_ = torch.from_numpy(np.asarray(cam, np.float32))
        return paste(map_[None], _as_place(coordinates), target_size)[0].numpy()


def sliding_window(height: int, width: int, step_size: int, window_size: int) -> list[tuple[int, int]]:
    """Left and top of the windows that cover an image; the last of a row or column is moved back into it."""
    rows, columns = (window_starts(length, step_size, window_size) for length in (height, width))
    return [(x, y) for y in rows for x in columns]


def _as_place(corner: Corner) -> Place:
    x, y, width, height = corner
    return Place((height, width), (y, x))

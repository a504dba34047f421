"""As ``pytorch_grad_cam.metrics.perturbation_confidence``: how a score changes when images are perturbed.

What differs: the model is in evaluation mode while it is scored, one forward without perturbation serves all
percentiles, and percentile="auto" (which keeps the most relevant pixels in both orders) is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, overload, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xaimed_core.compat.refusals import NotMirroredError
from xaimed_core.explanation import tensor_of
from xaimed_core.faithfulness.door import fitting_images
from xaimed_core.faithfulness.masks import Order, by_threshold
from xaimed_core.faithfulness.scoring import scoring, warn_of_probabilities
from xaimed_core.numbers_given import is_real
from xaimed_core.outputs import outputs_of
from xaimed_core.rows import outputs_of_each, rows_per_forward
from xaimed_core.targets import FunctionTargets, ScoreFunction

Scores = NDArray[np.float32]
Percentile = float | np.floating[Any] | np.integer[Any]
Perturbation = Callable[[Tensor, Tensor], Tensor]
"""One image ``[c, h, w]`` and its map ``[h, w]`` to the perturbed image."""


@runtime_checkable
class BatchedPerturbation(Protocol):
    """A perturbation that also takes all images and maps of a batch at once."""

    def batched(self, images: Tensor, cams: Tensor) -> Tensor:
        """``[n, c, h, w]`` and ``[n, h, w]`` to the perturbed images."""
        ...


class PerturbationConfidenceMetric:
    """The change of each image's score under ``perturbation``: after less before."""

    def __init__(self, perturbation: Perturbation) -> None:
        self.perturbation = perturbation

    @overload
    def __call__(
        self,
        input_tensor: Tensor,
        cams: NDArray[Any],
        targets: Sequence[ScoreFunction],
        model: nn.Module,
        return_visualization: Literal[False] = False,
        return_diff: bool = True,
    ) -> Scores: ...

    @overload
    def __call__(
        self,
        input_tensor: Tensor,
        cams: NDArray[Any],
        targets: Sequence[ScoreFunction],
        model: nn.Module,
        return_visualization: Literal[True],
        return_diff: bool = True,
    ) -> tuple[Scores, Tensor]: ...

    def __call__(
        self,
        input_tensor: Tensor,
        cams: NDArray[Any],
        targets: Sequence[ScoreFunction],
        model: nn.Module,
        return_visualization: bool = False,
        return_diff: bool = True,
    ) -> Scores | tuple[Scores, Tensor]:
        """Scores ``[n]`` for images ``[n, c, h, w]``, maps ``[n, h, w]`` and one target per image.

        ``return_diff=False`` gives the scores after, ``return_visualization`` the perturbed images too.
        """
        perturbed = self.perturbed(input_tensor, cams)
        result = score_all(model, perturbed, targets)
        if return_diff:
            result = result - score_all(model, input_tensor, targets)
        return (result, perturbed) if return_visualization else result

    def perturbed(self, input_tensor: Tensor, cams: NDArray[Any]) -> Tensor:
        """The perturbed images ``[n, c, h, w]``, on the images' device."""
        input_tensor = fitting_images(input_tensor)
        maps = maps_of(cams, input_tensor)
        if isinstance(self.perturbation, BatchedPerturbation):
            return self.perturbation.batched(input_tensor, maps)
        images = [
            self.perturbation(image.cpu(), m.cpu()) for image, m in zip(input_tensor, maps, strict=True)
        ]
        return torch.stack(images).to(input_tensor.device)


class RemoveMostRelevantFirst:
    """Keep what lies below the map's percentile: the top (100 - percentile) percent, and all ties, are removed."""

    order: Order = "morf"

    def __init__(self, percentile: Percentile, imputer: Perturbation) -> None:
        if isinstance(percentile, str) and percentile == "auto":
            raise NotMirroredError(
                "xaimed_core.compat does not mirror percentile='auto': it keeps the most relevant pixels in both "
                "orders; give a number from 0 to 100"
            )
        check_percentiles([percentile])
        self.percentile = percentile
        self.imputer = imputer

    def __call__(self, input_tensor: Tensor, mask: Tensor) -> Tensor:
        """The image ``[c, h, w]`` with the pixels that its map ``mask [h, w]`` ranks first replaced."""
        keep = removal_masks(mask[None], [self.percentile], self.order)[0, 0]
        return self.imputer(input_tensor, keep.float())

    def batched(self, images: Tensor, cams: Tensor) -> Tensor:
        """All images at once."""
        keep = removal_masks(cams, [self.percentile], self.order)[:, 0]
        if isinstance(self.imputer, BatchedPerturbation):
            return self.imputer.batched(images, keep.float())
        filled = [self.imputer(i.cpu(), k.float().cpu()) for i, k in zip(images, keep, strict=True)]
        return torch.stack(filled).to(images.device)


class RemoveLeastRelevantFirst(RemoveMostRelevantFirst):
    """The same for 1 - map: the lowest (100 - percentile) percent, and all ties, are removed."""

    order: Order = "lerf"


class AveragerAcrossThresholds:
    """The mean of a metric over percentiles; ``imputer`` makes the metric of one percentile."""

    def __init__(
        self,
        imputer: Callable[[Any], PerturbationConfidenceMetric],
        percentiles: Sequence[Percentile] = (10, 20, 30, 40, 50, 60, 70, 80, 90),
    ) -> None:
        check_percentiles(percentiles)
        self.imputer = imputer
        self.percentiles = percentiles

    def __call__(
        self, input_tensor: Tensor, cams: NDArray[Any], targets: Sequence[ScoreFunction], model: nn.Module
    ) -> Scores:
        """Scores ``[n]``: the mean change over the percentiles."""
        return self.after(input_tensor, cams, targets, model) - score_all(model, input_tensor, targets)

    def after(
        self, input_tensor: Tensor, cams: NDArray[Any], targets: Sequence[ScoreFunction], model: nn.Module
    ) -> Scores:
        """The mean score after the perturbations ``[n]``; every forward holds the images in their order."""
        metrics = [self.imputer(percentile) for percentile in self.percentiles]
        read = _reader(model, input_tensor, targets)

        def perturbed(here: range) -> Tensor:
            return torch.cat([metrics[k].perturbed(input_tensor, cams) for k in here])

        with scoring(model) as running:
            n = len(input_tensor)
            rows = rows_per_forward(running, input_tensor, None, len(metrics), owner=model)
            found = [read(outputs) for outputs in outputs_of_each(running, perturbed, len(metrics), n, rows)]
        return np.stack(found).mean(axis=0, dtype=np.float32)


def removal_masks(cams: Tensor, percentiles: Sequence[Percentile], order: Order) -> Tensor:
    """What stays, bool ``[n, percentiles, h, w]``, to the pixel as in grad-cam."""
    plain = all(type(percentile) in (int, float) for percentile in percentiles)
    quantiles = [float(percentile) / 100 for percentile in percentiles]
    blend = None if plain else torch.float64  # numpy's own numbers are not demoted to the map's dtype
    return by_threshold(cams, quantiles, [order], blend=blend)[:, 0]


def maps_of(cams: NDArray[Any], images: Tensor) -> Tensor:
    """Maps as a tensor on the images' device. Raises ValueError where they do not fit or are not finite."""
    maps = tensor_of(cams, images.device).to(images.device)
    if maps.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"cams must be {[len(images), *images.shape[2:]]}, one map per image, got {list(maps.shape)}"
        )
    if not bool(maps.isfinite().all()):
        raise ValueError("cams hold NaN or infinity, which no percentile can rank; replace them, e.g. with 0")
    return maps


def check_percentiles(percentiles: Any) -> None:
    """Raise ValueError unless these are numbers from 0 to 100, at least one."""
    listed: list[Any] = list(percentiles) if isinstance(percentiles, Iterable) else []
    if not listed or not all(is_real(p) and 0 <= p <= 100 for p in listed):
        raise ValueError(
            f"percentiles must be numbers from 0 to 100, at least one, got {percentiles!r}; 80 keeps 80 percent"
        )


def score_all(model: nn.Module, images: Tensor, targets: Sequence[ScoreFunction]) -> Scores:
    """The targets' scores of the images, float32 ``[n]``."""
    read = _reader(model, images, targets)
    with scoring(model) as running:
        return read(outputs_of(running, images))


def _reader(model: nn.Module, images: Tensor, targets: Any) -> Callable[[Tensor], Scores]:
    """What makes float32 scores ``[n]`` of the images' outputs."""
    fitting_images(images)
    if not isinstance(targets, Sequence) or not all(callable(target) for target in targets):
        raise TypeError(
            "targets must be a list with a callable for each image, e.g. [ClassifierOutputTarget(2)]"
        )
    if len(targets) != len(images):
        raise ValueError(f"{len(targets)} targets for {len(images)} images; give one per image")
    chosen = FunctionTargets(tuple(targets))
    softmax = any(type(target).__name__ == "ClassifierOutputSoftmaxTarget" for target in targets)

    def read(outputs: Tensor) -> Scores:
        if softmax:
            warn_of_probabilities(model, outputs, "softmax", "use ClassifierOutputTarget")
        return chosen.score(outputs).float().cpu().numpy()

    return read

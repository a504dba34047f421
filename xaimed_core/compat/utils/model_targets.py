"""As ``pytorch_grad_cam.utils.model_targets``: callables on one image's output that give the score to explain.

Rows are ``[classes]``; most targets also take a batch ``[n, classes]`` and then give one score per image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import torch
from numpy.typing import NDArray
from torch import Tensor

from xaimed_core.classes import whole_number


class ClassifierOutputTarget:
    """The logit of one class."""

    def __init__(self, category: SupportsIndex) -> None:
        self.category = whole_number(category)

    def __call__(self, model_output: Tensor) -> Tensor:
        """The score of a row, or the scores of a batch."""
        return _of_class(model_output, self.category, 0 if model_output.ndim == 1 else 1)


class ClassifierOutputSoftmaxTarget(ClassifierOutputTarget):
    """The probability of one class. Of a single logit it would always be 1, so that is refused."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """The score of a row, or the scores of a batch."""
        if model_output.shape[-1] == 1:
            raise ValueError("softmax of one logit is always 1; use BinaryClassifierOutputTarget")
        return super().__call__(model_output.softmax(-1))


class ClassifierOutputReST(ClassifierOutputTarget):
    """The logit of one class and its log probability together (ShapleyCAM's score, arXiv 2501.06261)."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """The score of a row, or the scores of a batch."""
        return super().__call__(model_output) + super().__call__(model_output.log_softmax(-1))


class BinaryClassifierOutputTarget:
    """The one logit of a binary classifier: as it is for category 1, negated for category 0."""

    def __init__(self, category: SupportsIndex) -> None:
        self.category = whole_number(category)
        if self.category not in (0, 1):
            raise ValueError(f"a binary classifier has the categories 0 and 1, got {category}")

    def __call__(self, model_output: Tensor) -> Tensor:
        """The score of a row, or the scores of a batch."""
        return model_output if self.category == 1 else -model_output


class SoftmaxOutputTarget:
    """All probabilities."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """Softmax over the last axis."""
        return model_output.softmax(-1)


class RawScoresOutputTarget:
    """The output as it is."""

    def __call__(self, model_output: Tensor) -> Tensor:
        """The output as it is."""
        return model_output


class SemanticSegmentationTarget:
    """The scores of one class summed over the pixels of a mask: outputs ``[classes, h, w]``, mask ``[h, w]``."""

    def __init__(self, category: SupportsIndex, mask: NDArray[Any] | Tensor) -> None:
        self.category = whole_number(category)
        self.mask = torch.as_tensor(mask)

    def __call__(self, model_output: Tensor) -> Tensor:
        """The score of one image."""
        scores = _of_class(model_output, self.category, 0)
        if scores.shape != self.mask.shape:
            raise ValueError(
                f"the mask is {tuple(self.mask.shape)}, the class's scores {tuple(scores.shape)}"
            )
        return (scores * self.mask.to(model_output.device)).sum()


class FasterRCNNBoxScoreTarget:
    """How well detections still match given boxes: overlap plus score, for boxes that keep overlap and label.

    For loops of one's own over a detection model's output; the CAM classes take models with one score per image.
    """

    def __init__(
        self, labels: Sequence[int], bounding_boxes: NDArray[Any], iou_threshold: float = 0.5
    ) -> None:
        self.labels = labels
        self.bounding_boxes = bounding_boxes
        self.iou_threshold = iou_threshold

    def __call__(self, model_outputs: Mapping[str, Tensor]) -> Tensor:
        """The score ``[1]`` of one image's detections, a mapping with "boxes", "labels" and "scores"."""
        boxes = model_outputs["boxes"]
        score = torch.zeros(1, device=boxes.device, dtype=boxes.dtype)
        if len(boxes) == 0:
            return score
        for box, label in zip(self.bounding_boxes, self.labels, strict=False):
            wanted = torch.as_tensor(box, device=boxes.device, dtype=boxes.dtype)
            overlaps = _overlaps(wanted, boxes)
            best = overlaps.argmax()
            if overlaps[best] > self.iou_threshold and model_outputs["labels"][best] == label:
                score = score + overlaps[best] + model_outputs["scores"][best]
        return score


def _overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union ``[n]`` of a box (x1, y1, x2, y2) with each of ``boxes [n, 4]``."""
    low, high = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    area, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return shared / (area + areas - shared)


class FinerWeightedTarget:
    """One class against others: sum_c p_c (y - alpha y_c) / sum_c p_c over the comparison classes c (Finer-CAM)."""

    def __init__(
        self, main_category: SupportsIndex, comparison_categories: Sequence[SupportsIndex], alpha: float
    ) -> None:
        self.main_category = whole_number(main_category)
        self.comparison_categories = [whole_number(category) for category in comparison_categories]
        self.alpha = alpha

    def __call__(self, model_output: Tensor) -> Tensor:
        """The score of a row, or the scores of a batch."""
        others = self.comparison_categories
        for category in (self.main_category, *others):
            _of_class(model_output, category, -1)
        weights = model_output.softmax(-1)[..., others]
        differences = model_output[..., self.main_category, None] - self.alpha * model_output[..., others]
        return (weights * differences).sum(-1) / (weights.sum(-1) + 1e-9)


def _of_class(output: Tensor, category: int, axis: int) -> Tensor:
    if not -output.shape[axis] <= category < output.shape[axis]:
        raise IndexError(f"category {category} is out of range: the output has {output.shape[axis]} classes")
    return output.select(axis, category)


def category_of(target: object) -> int | None:
    """The class whose plain logit ``target`` is, for grad-cam's own ClassifierOutputTarget too; None for any other."""
    kind = type(target)
    if kind.__name__ != "ClassifierOutputTarget" or kind.__module__.rpartition(".")[2] != "model_targets":
        return None
    try:
        category = whole_number(getattr(target, "category", -1))
    except TypeError:
        return None
    return category if category >= 0 else None  # -1 counts from the end, which only the callable knows

"""A class explained against others: why this and not those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from xaimed_core.targets import (
    ClassTargets,
    ContrastTargets,
    FunctionTargets,
    Targets,
    TargetsLike,
    are_several,
    resolve_targets,
    split_targets,
)

NEAREST: Final = 3
"""With how many of the classes of nearest score FinerCAM compares a class, where none are named."""


def contrast(
    targets: Targets,
    against: TargetsLike | Targets,
    logits: Tensor,
    classes: Sequence[str] | None = None,
    share_eps: float = 0.0,
) -> Targets:
    """``targets`` explained against other classes: a class, or one per image; or several of each image, `weighted`.

    Raises TypeError where either is not a class.
    """
    if are_several(against):
        each = split_targets(against, logits, classes)
        others = [other.index for other in each if isinstance(other, ClassTargets)]
        if isinstance(targets, ClassTargets) and len(others) == len(each):
            rows = zip(targets.index, torch.stack(others, 1), strict=True)
            return FunctionTargets(tuple(Weighted(main, row, share_eps) for main, row in rows))
    else:
        other = resolve_targets(against, logits, classes)
        if isinstance(targets, ClassTargets) and isinstance(other, ClassTargets):
            return ContrastTargets(targets, other)
    raise TypeError(
        "against contrasts classes; for other scores give a target that takes the difference itself"
    )


def finer_scores(targets: Targets, logits: Tensor, share_eps: float = 0.0) -> Tensor:
    """FinerCAM's scores ``[n]``: each image's class against those that the targets name, or else its `NEAREST`.

    Score functions are taken as they are: they have no class to compare. Raises ValueError for a model of one class.
    """
    match targets:
        case FunctionTargets():
            return targets.score(logits)
        case ContrastTargets(chosen, against):
            return weighted(logits, chosen.index, against.index.unsqueeze(1), share_eps)
        case ClassTargets(index):
            if logits.shape[1] < 2:
                raise ValueError("finercam compares classes and the model has one; ask for gradcam")
            apart = (logits - logits.gather(1, index.unsqueeze(1))).abs().detach()
            apart.scatter_(1, index.unsqueeze(1), torch.inf)
            near = apart.topk(min(NEAREST, logits.shape[1] - 1), dim=1, largest=False).indices
            return weighted(logits, index, near, share_eps)


def weighted(logits: Tensor, index: Tensor, others: Tensor, share_eps: float = 0.0) -> Tensor:
    """``sum_c p_c (y - y_c) / (share_eps + sum_c p_c)`` ``[n]`` over the classes ``others [n, k]`` (arXiv 2501.11309).

    ``p`` are the probabilities, through which the score is differentiated too; p over its sum is the softmax over
    these classes alone, which needs no epsilon.
    """
    against = logits.gather(1, others)
    scores = (against.softmax(1) * (logits.gather(1, index.unsqueeze(1)) - against)).sum(1)
    if not share_eps:
        return scores
    dtype = torch.promote_types(logits.dtype, torch.float32)  # the epsilon is 0 in float16
    share = logits.softmax(1, dtype).gather(1, others).sum(1)
    return scores * share / (share + share_eps)


@final
@dataclass(frozen=True, eq=False)
class Weighted:
    """`weighted` as a score function of one image's output row: its class ``main []`` against ``others [k]``."""

    main: Tensor
    others: Tensor
    share_eps: float = 0.0

    def __call__(self, row: Tensor) -> Tensor:
        """The score ``[]``."""
        one = row.unsqueeze(0), self.main.reshape(1), self.others.unsqueeze(0)
        return weighted(*one, self.share_eps).squeeze(0)

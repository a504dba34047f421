"""Scores of images: forwards without side effects, and what targets read in the outputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from xaimed_core.admission import admit_module
from xaimed_core.faithfulness.metric import ScoreLike
from xaimed_core.isolation.subject import ready, subject_of
from xaimed_core.targets import Targets

MANY = 32
"""So many outputs in [0, 1] are no logits: trained ones lie on both sides of 0."""

_warned: WeakSet[nn.Module] = WeakSet()


@contextmanager
def scoring(model: nn.Module) -> Generator[nn.Module]:
    """The module to call, in evaluation mode without autograd; the caller's modes are as before afterwards.

    Autocast and the random generators are the caller's. Raises as `admit_module`.
    """
    model = admit_module(model)
    with torch.no_grad():
        if not any(module.training for module in model.modules()):
            yield model
            return
        subject = subject_of(model)
        with ready(subject):
            yield subject.root


def scores_of(outputs: Tensor, targets: Targets, rows: Tensor, score: ScoreLike) -> Tensor:
    """Float32 scores ``[r]`` of ``outputs [r, ...]``, which belong to the images ``rows [r]``."""
    return targets.score(read_by(score, outputs.float()), rows).float()


def read_by(score: ScoreLike, outputs: Tensor) -> Tensor:
    """Outputs ``[r, ...]`` as ``score`` reads them. Raises ValueError for an unknown name and softmax of one output."""
    if callable(score) and not isinstance(score, type):
        read: Any = score(outputs)
        if not isinstance(read, Tensor) or read.shape != outputs.shape:
            made = tuple(read.shape) if isinstance(read, Tensor) else type(read).__name__
            raise ValueError(
                f"the score function turned {tuple(outputs.shape)} into {made}; it must keep the rows and classes"
            )
        return read
    if not isinstance(score, str) or score not in _READINGS:
        raise ValueError(
            f"unknown score {score!r}; choose {', '.join(_READINGS)} or a function of the outputs"
        )
    return _READINGS[score](outputs)


def warn_of_probabilities(
    model: nn.Module, outputs: Tensor, score: ScoreLike, instead: str = 'use score="probability"'
) -> None:
    """Warn, once for each model, where ``score`` makes probabilities of outputs that are probabilities already."""
    if score not in ("softmax", "sigmoid") or model in _warned:
        return
    values = outputs.detach().float()
    if not bool(((values >= 0) & (values <= 1)).all()):
        return
    sums = values.sum(-1) if values.ndim > 1 else values
    room = 1e-4 if outputs.dtype in (torch.float32, torch.float64) else 1e-2
    to_one = values.ndim > 1 and values.shape[-1] > 1 and bool(((sums - 1).abs() < room).all())
    if to_one if score == "softmax" else to_one or values.numel() >= MANY:
        _warned.add(model)
        warnings.warn(
            f"{score} is applied to outputs that look like probabilities already: they are in [0, 1]"
            f"{' and each row sums to 1' if to_one else ''}; {instead} to take them as they are",
            stacklevel=2,
        )


def _softmax(outputs: Tensor) -> Tensor:
    if outputs.ndim < 2 or outputs.shape[-1] == 1:
        raise ValueError(
            'softmax of one output is always 1, whatever the image; use score="sigmoid" for a model with one logit, '
            'or score="logit"'
        )
    return outputs.softmax(-1)


def _checked(outputs: Tensor) -> Tensor:
    low, high = outputs.nan_to_num().aminmax()
    if low < 0 or high > 1:
        raise ValueError(
            f'score="probability" takes outputs that are in [0, 1] already, these go from {float(low):.3g} to '
            f'{float(high):.3g}; use score="softmax" or "sigmoid"'
        )
    return outputs


def _as_they_are(outputs: Tensor) -> Tensor:
    return outputs


_READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "logit": _as_they_are,
    "softmax": _softmax,
    "sigmoid": torch.sigmoid,
    "probability": _checked,
}

"""Scores of images: batched forwards without side effects, and what targets read in the outputs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from xaimed_core.faithfulness.metric import ScoreLike
from xaimed_core.targets import Targets, logits_of


@contextmanager
def scoring(model: nn.Module, device: torch.device) -> Generator[None]:
    """Evaluation mode without autograd; modes and random numbers are as before afterwards, autocast is kept."""
    training = [module for module in model.modules() if module.training]
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True


def outputs_of(model: nn.Module, images: Tensor) -> Tensor:
    """The model's output rows, one per image."""
    outputs = logits_of(model(images))
    if outputs.ndim == 0 or len(outputs) != len(images):
        raise ValueError(
            f"the model gave {tuple(outputs.shape)} for {len(images)} images; its first axis must be the batch"
        )
    return outputs


def scores_of(outputs: Tensor, targets: Targets, rows: Tensor, score: ScoreLike) -> Tensor:
    """Float32 scores ``[r]`` of ``outputs [r, ...]``, which belong to the images ``rows [r]``."""
    return targets.score(read_by(score, outputs.float()), rows).float()


def read_by(score: ScoreLike, outputs: Tensor) -> Tensor:
    """Outputs ``[r, ...]`` as ``score`` reads them. Raises ValueError for an unknown name and softmax of one output."""
    if not isinstance(score, str):
        read = score(outputs)
        if len(read) != len(outputs):
            raise ValueError(
                f"the score function turned {tuple(outputs.shape)} into {tuple(read.shape)}; it must keep the rows"
            )
        return read
    if score not in _READINGS:
        raise ValueError(
            f"unknown score {score!r}; choose {', '.join(_READINGS)} or a function of the outputs"
        )
    return _READINGS[score](outputs)


def _probabilities(outputs: Tensor) -> Tensor:
    if outputs.ndim < 2 or outputs.shape[-1] == 1:
        raise ValueError(
            'softmax of one output is always 1, whatever the image; use score="sigmoid" for a model with one logit, '
            'or score="logit"'
        )
    return outputs.softmax(-1)


def _as_they_are(outputs: Tensor) -> Tensor:
    return outputs


_READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "logit": _as_they_are,
    "softmax": _probabilities,
    "sigmoid": torch.sigmoid,
}

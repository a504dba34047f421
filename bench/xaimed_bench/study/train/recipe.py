"""How a network is trained, and every number that chance gives: functions of the seed and of how far it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

Schedule = Literal["constant", "one-cycle"]
RISE = 0.3
"""The share of the steps in which a one-cycle rate rises."""


@final
@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with momentum on the cross-entropy.

    ``rate``  the learning rate, of one-cycle its largest; ``smoothing``  of labels (Szegedy et al. 2016)
    ``flips``  whether half of the images, others in each epoch, are mirrored left to right
    ``patience``  stop after so many epochs without a lower loss on validation, and keep the weights of the lowest;
    0: train all epochs and keep the last weights
    ``probe``  begin with a linear classifier fitted to the features as they are, for a random one spoils them before it
    has learnt; BatchNorm keeps its statistics, without which that classifier would not fit
    """

    name: str
    epochs: int
    batch: int
    rate: float
    schedule: Schedule
    momentum: float = 0.9
    weight_decay: float = 5e-4
    smoothing: float = 0.0
    flips: bool = False
    patience: int = 0
    probe: bool = False


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("paper", epochs=30, batch=32, rate=1e-3, schedule="constant"),
        Recipe("finetune", 10, 32, 0.03, "one-cycle", smoothing=0.05, flips=True, patience=3),
        Recipe("probe-first", 4, 32, 3e-4, "one-cycle", smoothing=0.05, flips=True, patience=3, probe=True),
    )
}
"""``paper``: as arXiv 2503.08420 has it, whose batch and schedule are not known. ``finetune``: from weights that have
learnt to see, in a few epochs. ``probe-first``: likewise, by small steps from a classifier that fits them (Kumar et al.
2022, arXiv 2202.10054)."""


def rate_at(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of one of ``steps`` steps; one-cycle as Smith and Topin 2017 (arXiv 1708.07120), by cosines."""
    if recipe.schedule == "constant":
        return recipe.rate
    top = max(RISE * steps, 1)
    low, share = (recipe.rate / 25, step / top) if step < top else (0.0, (steps - step) / max(steps - top, 1))
    return low + (recipe.rate - low) * (1 - math.cos(math.pi * share)) / 2


_ORDER, _FLIPS, _DROPOUT = range(3)


def order_of(seed: int, epoch: int, count: int) -> list[int]:
    """In which order an epoch sees its images."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(count).tolist()


def flips_of(seed: int, epoch: int, count: int) -> np.ndarray:
    """Which images an epoch mirrors, ``bool [count]``."""
    return np.random.default_rng((seed, _FLIPS, epoch)).random(count) < 0.5


def dropout_seed(seed: int, step: int, rank: int) -> int:
    """What torch's generators are seeded with before a step."""
    return int(np.random.SeedSequence((seed, _DROPOUT, step, rank)).generate_state(1)[0])

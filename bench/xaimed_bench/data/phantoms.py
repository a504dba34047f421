"""Seeded phantoms: images that look like MRI, dermoscopy or X-ray, with a lesion whose place is known.

They need no download and no licence, are the same on every machine, and give networks something with the
statistics of medical images to look at. They are no medical data: a diagnosis learnt on them means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from xaimed_bench.data.images import IMAGENET, ImageBatch, Normalisation
from xaimed_bench.data.scenes import Canvas, chest_xray, dermoscopy, head_mri

PhantomKind = Literal["mri", "skin", "xray"]
PHANTOM_KINDS: tuple[PhantomKind, ...] = get_args(PhantomKind)

Scene = Callable[[Canvas, bool], tuple[Tensor, Tensor]]
SCENES: dict[PhantomKind, Scene] = {"mri": head_mri, "skin": dermoscopy, "xray": chest_xray}


def phantoms(
    kind: PhantomKind,
    count: int,
    *,
    size: int = 224,
    seed: int = 0,
    healthy: float = 0.0,
    normalisation: Normalisation = IMAGENET,
) -> ImageBatch:
    """``count`` phantoms of one kind, ``[count, 3, size, size]``, with lesion masks and labels.

    ``healthy``: the share of images without a lesion (label 0, empty mask), spread evenly, so that a classifier
    can be trained; with lesion is label 1. Image i depends on kind, size, seed, ``healthy`` and i alone: a longer batch
    begins with the shorter one. The global random state is neither read nor changed.
    Raises ValueError for an unknown kind, fewer than one image, a size below 16, or a share outside [0, 1].
    """
    if kind not in SCENES:
        raise ValueError(f"no phantom is called {kind!r}; choose one of {', '.join(PHANTOM_KINDS)}")
    if count < 1:
        raise ValueError(f"{count} phantoms asked for; give 1 or more")
    if size < 16:
        raise ValueError(f"a phantom of {size} pixels shows nothing; give a size of 16 or more")
    if not 0.0 <= healthy <= 1.0:
        raise ValueError(f"healthy is the share of images without lesion, in [0, 1], got {healthy}")
    labels = [int((i + 1) * healthy) == int(i * healthy) for i in range(count)]  # evenly spread
    scenes = [SCENES[kind](Canvas(size, _generator(kind, seed, i)), label) for i, label in enumerate(labels)]
    pixels = torch.stack([scene for scene, _ in scenes])
    return ImageBatch(
        images=normalisation.apply(pixels),
        normalisation=normalisation,
        source=f"{kind} phantoms, seed {seed}",
        names=tuple(f"{kind}-{i:04d}" for i in range(count)),
        masks=torch.stack([mask for _, mask in scenes]),
        has_mask=torch.ones(count, dtype=torch.bool),
        labels=torch.tensor(labels, dtype=torch.int64),
        classes=("healthy", "lesion"),
    )


def _generator(kind: PhantomKind, seed: int, index: int) -> torch.Generator:
    return torch.Generator().manual_seed(
        (seed * 1_000_003 + index) * len(PHANTOM_KINDS) + PHANTOM_KINDS.index(kind)
    )

"""A small classifier, trained in minutes on a CPU: enough to have something to explain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_bench.models import MODELS

BATCH = 32
RATE = 0.05
"""The largest learning rate of one rise and fall (SGD, momentum 0.9, weight decay 5e-4)."""


def train_classifier(
    images: Tensor,
    labels: Tensor,
    classes: int,
    *,
    architecture: str = "resnet18",
    epochs: int = 4,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> nn.Module:
    """A network of `MODELS` trained from scratch on ``images [n, 3, h, w]``; in evaluation mode. Seeded throughout.

    Images are mirrored at random. The global random state is left as it was.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = MODELS[architecture].build(classes).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)
        fit(model, images, labels, optimizer, epochs=epochs, rate=RATE, say=say)
    return model.eval()


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int,
    rate: float,
    half: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Train ``model`` in place, random choices from the global random state; ``rate``: the largest learning rate.

    ``half``: forwards in bfloat16 where torch holds that safe.
    """
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images)).split(BATCH):
            mirrored = torch.rand(len(rows)) < 0.5
            seen = torch.where(mirrored[:, None, None, None], images[rows].flip(3), images[rows])
            with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
                loss = functional.cross_entropy(model(seen), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        say(f"epoch {epoch + 1} of {epochs}: loss {total / len(images):.3f}")


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor, classes: Sequence[str]) -> float:
    """The part of the images whose top class is their label; ``labels [n]`` are numbers of ``classes``.

    Raises ValueError where the model's classes are others: in number or, where it names them (``model.classes``), in
    name or order; where a label is no class; and where there are no images or the model answers NaN.
    """
    if not len(images):
        raise ValueError("accuracy needs at least one image")
    if not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise ValueError(
            f"labels must be numbers of the {len(classes)} classes, got {labels.unique().tolist()}"
        )
    named = tuple(getattr(model, "classes", classes))
    if named != tuple(classes):
        raise ValueError(
            f"the model's classes are {', '.join(named)}, the images' {', '.join(classes)}; "
            "load the images in the model's order: load_images(folder, classes=model.classes)"
        )
    parts = zip(images.split(64), labels.split(64), strict=True)
    return sum(_right(model(x), y, classes) for x, y in parts) / len(images)


def _right(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> int:
    if logits.shape[1:] != (len(classes),):
        raise ValueError(
            f"the model gives {tuple(logits.shape[1:])} scores an image, and there are {len(classes)} classes: "
            f"{', '.join(classes)}; give the classes that it was trained on"
        )
    if bool(logits.isnan().any()):
        raise ValueError("the model answers NaN, of which no class is the top one; check its weights")
    return int((logits.argmax(1) == labels).sum())

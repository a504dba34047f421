"""How many rows a forward holds: the caller's images in the caller's order, or more where rows are proven independent.

A model may hold something of its own for each image of the batch (a patient's age, a second picture). A forward of
other images, another order or another count would pair them wrongly, often without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from xaimed_core.outputs import OutputChoice, outputs_of

ROWS = 32
"""Rows per forward, if the caller's own batch is smaller: a GPU gains up to there."""

FEW, FEW_ROWS = 2, 8
"""Up to so many images, and up to so many rows, a CPU gains more than the proof costs. On two cores at 224 px one of 1,
2, 8 and 32 rows takes ResNet-50 307, 258, 201 and 208 ms, DenseNet-121 33, 28, 26 and 51 ms."""

AGREEMENT = {torch.float64: 1e-9, torch.float32: 5e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}
"""Of the largest output: what rounding may leave between two forwards of the same images that differ in their batch."""

TF32_AGREEMENT = 4e-3


def rows_are_independent(
    model: nn.Module, images: Tensor, outputs: Tensor, choice: OutputChoice = None
) -> bool:
    """Whether ``outputs [n, ...]`` stay the same in another order and count: the n images from the second on, then the
    first and one more.

    All are run, since what a model holds may be equal for a few of them. One forward without autograd, of n + 1 rows;
    never remembered, because a model may be given something else before the next call. False where the model raises.
    """
    n = len(images)
    order = torch.arange(1, n + 2, device=images.device) % n
    try:
        found = outputs_of(model, images[order], choice)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return False
    expected = outputs[order.to(outputs.device)]
    if found.shape != expected.shape:
        return False
    same = torch.isclose(found, expected, rtol=0, atol=_allowed(expected), equal_nan=True)
    return bool(same.all())


def rows_per_forward(
    model: nn.Module,
    images: Tensor,
    outputs: Tensor | None,
    batch: int | None = None,
    choice: OutputChoice = None,
    most: int = ROWS,
) -> int:
    """The number of rows that `outputs_of_each` may put into one forward: n, more or fewer only after a proof.

    ``outputs``: of the images as they are; None lets a forward find them, if a proof is needed. ``batch`` None: up to
    ``most`` where that gains more than the proof costs, else n.
    Raises ValueError where ``batch`` was asked for and rows depend on each other or on their place.
    """
    n = len(images)
    gains = most if images.is_cuda else FEW_ROWS if n <= FEW else n
    wanted = batch or max(n, gains)
    rows = wanted // n * n or wanted
    if rows == n:
        return n
    outputs = outputs_of(model, images, choice) if outputs is None else outputs
    if rows_are_independent(model, images, outputs, choice):
        return rows
    if batch is None:
        return n
    raise ValueError(
        f"batch={batch} changes which images share a forward, and this model's outputs depend on that, or on their "
        "place in it (it may hold an input of its own for each image);\n"
        f"leave batch out, so that all {n} run together as given"
    )


def outputs_of_each(
    model: nn.Module,
    perturb: Callable[[range], Tensor],
    count: int,
    n: int,
    rows: int,
    choice: OutputChoice = None,
) -> Iterator[Tensor]:
    """Outputs ``[n, ...]`` for each of ``count`` perturbations, all ``n`` images in the caller's order.

    ``perturb(ks)`` gives the rows of perturbations ``ks`` behind each other, ``[k * n, ...]``; they share a forward as
    far as ``rows`` allow, see `rows_per_forward`.
    """
    together = max(1, rows // n)
    for start in range(0, count, together):
        images = perturb(range(start, min(start + together, count)))
        parts = [images] if rows >= n else images.split(rows)
        outputs = torch.cat([outputs_of(model, part, choice) for part in parts])
        yield from outputs.split(n)


def _allowed(outputs: Tensor) -> float:
    kind = outputs.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else outputs.dtype
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    part = TF32_AGREEMENT if dtype == torch.float32 and outputs.is_cuda and tf32 else AGREEMENT.get(dtype, 0)
    finite = outputs[outputs.isfinite()]
    return part * float(finite.abs().max()) if finite.numel() else 0.0

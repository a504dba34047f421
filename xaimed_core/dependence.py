"""Whether an image's scores depend on the other images of its batch: said once, because every result then does."""

from __future__ import annotations

import warnings
from weakref import WeakSet

import torch
from torch import Tensor, nn

from xaimed_core.outputs import OutputChoice, outputs_of

AGREEMENT = {torch.float64: 1e-9, torch.float32: 5e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}
"""Of the largest output: what rounding may leave between two forwards of the same images that differ in their batch."""

TF32_AGREEMENT = 4e-3

LOOKED_AT = 8
"""Images, so that the look costs little memory and time beside a large batch."""

BATCH_NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm

_looked_at: WeakSet[nn.Module] = WeakSet()
_names_read: WeakSet[nn.Module] = WeakSet()


@torch.no_grad()
def warn_if_mixed(
    model: nn.Module, images: Tensor, outputs: Tensor | None, choice: OutputChoice, owner: nn.Module
) -> None:
    """Warn where an image's outputs change with those of its batch, as where all are scaled by the batch's mean.

    One forward of up to `LOOKED_AT` images, at the first batch of ``owner`` that holds several: every second one, the
    brightest among them, is darkened, and the others must score as before. ``outputs``: of the images as they are;
    None, or more of them, lets a second forward find them.
    """
    if len(images) < 2 or owner in _looked_at:
        return
    _looked_at.add(owner)
    if len(images) > LOOKED_AT:
        images, outputs = images[:LOOKED_AT], None
    first = int(images.abs().nan_to_num().flatten(1).amax(1).argmax()) % 2
    darkened, kept = images.clone(), slice(1 - first, None, 2)
    darkened[first::2] /= 2
    try:
        before = outputs_of(model, images, choice) if outputs is None else outputs
        moved = _moved(before, outputs_of(model, darkened, choice), kept)
        drifted = _moved(before, outputs_of(model, images, choice), kept) if moved else 0.0
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return  # such images are none for this model, which then fails or not for those that are asked for
    if drifted:
        warnings.warn(
            "the model gives other scores for the same images when it runs again, so that results hold its "
            "noise too; make the forward pass deterministic and without memory",
            stacklevel=2,
        )
    elif moved:
        _warn(f"by {moved:.1%} of the largest score where others are darkened")


def warn_if_normalised_together(model: nn.Module) -> None:
    """The same where a module tells it, for what needs no second forward: gradients of the scores of a batch."""
    if model in _looked_at or model in _names_read:
        return
    _names_read.add(model)
    for name, module in model.named_modules():
        if isinstance(module, BATCH_NORMS) and module.running_mean is None:
            _warn(f"{name} normalises them together, for it keeps no running statistics")
            return


def rounding_of(outputs: Tensor) -> float:
    """What rounding may leave between two forwards of the same images that differ in their batch; absolute."""
    kind = outputs.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else outputs.dtype
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    part = TF32_AGREEMENT if dtype == torch.float32 and outputs.is_cuda and tf32 else AGREEMENT.get(dtype, 0)
    finite = outputs[outputs.isfinite()]
    return part * float(finite.abs().max()) if finite.numel() else 0.0


def _moved(before: Tensor, found: Tensor, kept: slice) -> float:
    """How far the outputs of images that stayed moved, of the largest; 0 for what rounding may leave."""
    apart = (found - before.to(found.device))[kept].abs()
    apart = float(apart[apart.isfinite()].max()) if bool(apart.isfinite().any()) else 0.0
    largest = float(before[before.isfinite()].abs().max()) if bool(before.isfinite().any()) else 0.0
    return apart / largest if largest and apart > rounding_of(before) else 0.0


def _warn(how: str) -> None:
    warnings.warn(
        f"an image's scores depend on the other images of its batch ({how}), so that its map and its scores do; "
        "explain one image at a time, or mend the model",
        stacklevel=2,
    )

"""What maps and lesions may look like, and one plain sentence for each that does not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xaimed_core.explanation import Explained, Maps, one_of
from xaimed_core.faithfulness.door import fitting_maps
from xaimed_core.localisation.regions import Regions
from xaimed_core.outputs import plain

MapsLike = Tensor | Explained | Maps
"""Maps ``[n, h, w]`` (arrays, too), or an `Explanation` or its `Maps`."""


def regions_of(maps: Any, lesions: Any, method: str | None) -> tuple[Regions, tuple[str, ...]]:
    """Maps beside lesions, and why an image cannot be scored, "" where it can.

    Raises TypeError or ValueError that say what to give.
    """
    lesions = fitting_lesions(lesions)
    map_ = fitting_maps(one_of(maps, method, lesions.device)[0], lesions.unsqueeze(1)).detach()
    map_ = map_ if map_.dtype == torch.float64 else map_.float()
    finite = map_.isfinite().flatten(1).all(1)
    flat = lesions.flatten(1)
    reasons = zip(finite.tolist(), flat.any(1).tolist(), flat.all(1).tolist(), strict=True)
    return Regions(map_.masked_fill(~finite.view(-1, 1, 1), 0.0), lesions), tuple(
        _reason(*each) for each in reasons
    )


def fitting_lesions(lesions: Any) -> Tensor:
    """Lesions bool ``[n, h, w]`` as a plain tensor. Raises TypeError or ValueError that say what to give."""
    if hasattr(lesions, "__array__") and not isinstance(lesions, Tensor):
        lesions = torch.as_tensor(lesions)
    if not isinstance(lesions, Tensor):
        raise TypeError(f"lesions must be a tensor [n, h, w] of bool, got {type(lesions).__name__}")
    if lesions.ndim != 3 or 0 in lesions.shape:
        hint = "drop the channel axis with lesions[:, 0]" if lesions.ndim == 4 else "give one for each map"
        raise ValueError(f"lesions must be [n, h, w], got {tuple(lesions.shape)}; {hint}")
    if lesions.dtype != torch.bool:
        raise ValueError(
            f"lesions must be bool, True inside, got {lesions.dtype}; convert with lesions > 0 or lesions == label"
        )
    return plain(lesions)


def _reason(finite: bool, any_: bool, all_: bool) -> str:
    if not any_:
        return "its lesion is empty"
    if all_:
        return "its lesion covers the whole image"
    return "" if finite else "its map holds NaN or infinity, which cannot be ranked"

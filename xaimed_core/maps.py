"""Maps that know whose scores they explain, so that scoring them asks about the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor

from xaimed_core.outputs import OutputChoice, plain
from xaimed_core.targets import ClassTargets, ContrastTargets, FunctionTargets, Targets


class Maps(dict[str, Tensor]):
    """Maps by method, ``[n, *size]`` (``[n, k, *size]`` for k classes of each image), and the ``targets`` they explain.

    ``targets``: one `Targets`, or a tuple of k. ``output``: which of the model's outputs held the scores, as the caller
    chose it. A map taken out is a plain tensor, which knows neither.
    """

    def __init__(
        self,
        maps: Mapping[str, Tensor],
        targets: Targets | tuple[Targets, ...] | None,
        output: OutputChoice = None,
    ) -> None:
        super().__init__(maps)
        self.targets = targets
        self.output = output


class Explained(Protocol):
    """An `xaimed_core.Explanation`, or anything else whose ``maps`` are `Maps`."""

    @property
    def maps(self) -> Maps:
        """Maps by method."""
        ...


@final
@dataclass(frozen=True)
class Asked:
    """Maps to score, and what is known of whom they explain: ``targets`` None for plain maps."""

    maps: dict[str, Tensor]
    targets: Targets | None
    output: OutputChoice


def asked_of(maps: Any, device: torch.device) -> Asked:
    """Maps from an explanation, from `Maps`, or from a mapping of plain tensors or arrays (moved to ``device``).

    Raises ValueError for several classes per image, TypeError for anything else.
    """
    held = maps if isinstance(maps, Mapping) else getattr(maps, "maps", None)
    if not isinstance(held, Mapping):
        raise TypeError(
            f"maps must be an Explanation, its maps, or tensors [n, h, w]; got {type(maps).__name__}"
        )
    targets = getattr(held, "targets", None) or getattr(maps, "targets", None)
    if isinstance(targets, tuple):
        raise ValueError(
            f"these maps explain {len(targets)} classes of each image, a score has one; "
            "score them one by one: e.of(0), e.of(1), ..."
        )
    named = {str(name): tensor_of(map_, device) for name, map_ in held.items()}
    if len(named) < len(held):
        raise ValueError(f"several maps have one name: {', '.join(map(str, held))}; give each its own")
    return Asked(
        named,
        targets if isinstance(targets, ClassTargets | FunctionTargets | ContrastTargets) else None,
        getattr(held, "output", None),
    )


def one_of(maps: Any, method: str | None, device: torch.device) -> tuple[Tensor, Asked]:
    """The maps of one ``method`` ``[n, h, w]``; plain tensors and arrays are themselves.

    Raises ValueError where several methods are there and none, or another, is named.
    """
    if not isinstance(maps, Mapping) and not hasattr(maps, "maps"):
        return tensor_of(maps, device), Asked({}, None, None)
    asked = asked_of(maps, device)
    name = next(iter(asked.maps)) if method is None and len(asked.maps) == 1 else method
    if not isinstance(name, str) or name not in asked.maps:
        listed = ", ".join(asked.maps) or "none"
        raise ValueError(
            f"{'which maps?' if method is None else f'no maps of {method!r}:'} the methods are {listed}; "
            f'give method="..."'
        )
    return asked.maps[name], asked


def tensor_of(maps: Any, device: torch.device) -> Tensor:
    """Maps as a plain tensor; arrays (as grad-cam's classes give) go to ``device``. Raises TypeError for others."""
    if isinstance(maps, Tensor):
        return plain(maps)
    if not hasattr(maps, "__array__"):
        hint = '; take one method\'s, e.g. e.maps["xgradcam"]' if hasattr(maps, "maps") else ""
        raise TypeError(f"maps must be a tensor or an array [n, h, w], got {type(maps).__name__}{hint}")
    import numpy as np

    array = np.array(maps)  # a copy: arrays may be read-only or run backwards
    if array.dtype.kind not in "fiub":
        raise TypeError(f"maps must hold real numbers, got an array of {array.dtype}")
    return torch.from_numpy(array).to(device)

"""What `explain` returns: maps that know whose scores they explain, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal, Protocol, final

import torch
from torch import Tensor

from xaimed_core.outputs import OutputChoice, plain
from xaimed_core.targets import ClassTargets, ContrastTargets, FunctionTargets, Targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


Kind = Literal["one pass", "closed-form", "delta", "replay", "module rerun", "full-forward"]
"""one pass: a forward, and a backward of the tail where the method has a gradient.

closed-form: besides it nothing but linear algebra. delta: one channel's change through the first mixings, then replay.
replay: the recorded operations of the tail for rows of ablations. module rerun: the model's own code for such rows,
where modules that were done before the layer return what they returned. full-forward: the whole network for every row.
"""


@final
@dataclass(frozen=True)
class Route:
    """What ran; its ``str`` is a sentence.

    steps: what ran in words, e.g. "delta(2 convs) + replay". why: why nothing cheaper did; "" where nothing cheaper is.
    same_as: methods asked for in the same call that give the same map, because the layer is only pooled.
    remarks: what else has to be said of how the model was run.
    """

    kind: Kind
    steps: str
    why: str = ""
    same_as: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        same = (
            f"the layer is only pooled, so that {' and '.join(self.same_as)} give the same map"
            if self.same_as
            else ""
        )
        ran = f"{self.steps}: {self.why}" if self.why else self.steps
        return "; ".join(filter(None, (ran, same, *self.remarks)))


@final
@dataclass(frozen=True, repr=False)
class Explanation:
    """What `explain` found, on the images' device.

    Where several classes per image were asked for, ``maps``, ``raw``, ``weights`` and ``empty`` hold them along
    axis 1, and ``of(j)`` is the explanation of the j-th.

    maps: per method ``[n, *size]``, float32 in [0, 1].
    raw: per method the signed map at the layer's own size, before ReLU; a tuple where several layers were given.
    weights: per method that has them, the channel weights ``[n, c]``; a tuple likewise.
    empty: per method ``bool [n]``: no positive evidence, so that the map is 0 everywhere.
    reason: per method why each image's map is empty, "" where it is not.
    route: per method what ran, and why nothing cheaper applied; its ``str`` is a sentence.
    logits: what targets read in the model's output, ``[n, classes]``; None where the model returns no scores and the
        methods need none. targets: whose scores were explained; a tuple where several per image were.
    """

    maps: Maps
    raw: dict[str, Tensor | tuple[Tensor, ...]]
    weights: dict[str, Tensor | tuple[Tensor, ...]]
    empty: dict[str, Tensor]
    reason: dict[str, tuple[str, ...]]
    route: dict[str, Route]
    logits: Tensor | None
    targets: Targets | tuple[Targets, ...] | None
    layer: str
    parts: tuple[Explanation, ...] = ()

    def of(self, j: int) -> Explanation:
        """The explanation of each image's j-th class, where several were asked for."""
        if not self.parts:
            raise ValueError(
                "one class per image was explained; of(j) is for targets='all' or several classes each"
            )
        if isinstance(j, bool) or j not in range(len(self.parts)):
            raise IndexError(
                f"{len(self.parts)} classes of each image were explained, 0 to {len(self.parts) - 1}; got {j!r}"
            )
        return self.parts[j]

    def __repr__(self) -> str:
        first = next(iter(self.maps.values()))
        size = "x".join(map(str, first.shape[2 if self.parts else 1 :]))
        classes = f", {len(self.parts)} classes each" if self.parts else ""
        what = "images" if self.logits is None or len(self.logits) == len(first) else "maps"
        methods = ", ".join(self.maps)
        return f"Explanation({len(first)} {what} of {size}{classes}, layer {self.layer}, methods {methods})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{int(self.empty[name].sum())} of {self.empty[name].numel()}</td>"
            f"<td>{escape(str(route))}</td></tr>"
            for name, route in self.route.items()
        )
        head = "<tr><th>method</th><th>empty maps</th><th>what ran</th></tr>"
        return f"<table><caption>{escape(repr(self))}</caption>{head}{rows}</table>"

    def show(self, images: Tensor, *, count: int = 8) -> Figure:
        """A figure of the maps over the ``images`` that were explained, at most ``count`` of them.

        A notebook shows it; ``.savefig("maps.png")`` writes it to a file.
        """
        if self.parts:
            raise ValueError(
                "several classes per image were explained; show one of them: explanation.of(0).show(images)"
            )
        from xaimed_core.display import overlay

        return overlay(images, self.maps, empty=self.empty, count=count)


def combine(parts: Sequence[Explanation]) -> Explanation:
    """The explanations of each image's first, second, ... class as one."""
    first = parts[0]
    stacked = {name: torch.stack([part.maps[name] for part in parts], 1) for name in first.maps}
    targets = tuple(
        part.targets for part in parts if part.targets is not None and not isinstance(part.targets, tuple)
    )
    maps = Maps(stacked, targets, first.maps.output)
    return Explanation(
        maps=maps,
        raw={name: _stacked([part.raw[name] for part in parts]) for name in first.raw},
        weights={name: _stacked([part.weights[name] for part in parts]) for name in first.weights},
        empty={name: torch.stack([part.empty[name] for part in parts], 1) for name in first.empty},
        reason={
            name: tuple("; ".join(dict.fromkeys(filter(None, each))) for each in zip(*reasons, strict=True))
            for name in first.reason
            if (reasons := [part.reason[name] for part in parts])
        },
        route=first.route,
        logits=first.logits,
        targets=targets,
        layer=first.layer,
        parts=tuple(parts),
    )


def _stacked(found: Sequence[Tensor | tuple[Tensor, ...]]) -> Tensor | tuple[Tensor, ...]:
    tensors = [one for one in found if isinstance(one, Tensor)]
    if tensors:
        return torch.stack(tensors, 1)
    layers = zip(*(one for one in found if isinstance(one, tuple)), strict=True)
    return tuple(torch.stack(of_layer, 1) for of_layer in layers)

"""What a CAM method is: a value that one engine runs, of one of nine kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, cast, final, get_args

from torch import Tensor

from xaimed_core.forward import Slope
from xaimed_kernels.gradient_maps import Formula

Tile = Any
"""Activations or gradients ``[..., c, s]``: a torch tensor on a CPU, a Triton tile on a GPU (see `Formula`)."""

Total = Callable[[Tile], Tile]
"""The sum over positions, the axis kept."""

AblationValue = Literal["zero", "minimum", "mean"]
"""What stands in an ablated channel: 0, or that image's minimum or mean of the channel over its positions."""


@final
@dataclass(frozen=True)
class Reduction:
    """A sum over channels of activations weighed by a formula of activation and gradient: one tail backward.

    ``slope``: what it reads for the gradient. Besides the score's own, FinerCAM's costs a tail backward where both are
    asked for, and ShapleyCAM's one in any case.
    """

    formula: Formula
    slope: Slope = "score"


@final
@dataclass(frozen=True)
class Projection:
    """The first principal component of the activations, or of gradient x activation.

    ``magnitude``: of the gradient's absolute value, and what reaches farther from 0 is positive (Seg-Eigen-CAM).
    """

    by_gradient: bool
    magnitude: bool = False


@final
@dataclass(frozen=True)
class KernelProjection:
    """The first kernel principal component of the activations: no backward, a Gram matrix of positions per image."""


@final
@dataclass(frozen=True)
class Weighing:
    """Channel weights ``[n, c]`` made of the activations ``[n, c, s]`` alone: no backward and no score."""

    weigh: Callable[[Tensor], Tensor]


@final
@dataclass(frozen=True)
class ChannelProbe:
    """Each channel of the layer is ablated in turn and weighs what the score loses."""


@final
@dataclass(frozen=True)
class InputProbe:
    """Each channel masks the image in turn and weighs the score that is left: ``len(scales)`` forwards per channel.

    The i-th of them shows the image through ``scales[i]`` times the mask, plus noise of this standard ``deviation``.
    """

    scales: tuple[float, ...] = (1.0,)
    deviation: float = 0.0


@final
@dataclass(frozen=True)
class PositionProbe:
    """Each position of the layer is shown alone and weighs the score that it gives: the tail once per position.

    Positions share a forward of what lies before the layer, as many as memory allows.
    """


@final
@dataclass(frozen=True)
class Smoothing:
    """GradCAM++'s weights of derivatives averaged over noisy images: ``samples`` forwards and tail backwards more.

    ``spread``: the noise's standard deviation, as a share of each image's range.
    """

    samples: int
    spread: float


@final
@dataclass(frozen=True)
class Attention:
    """What the tokens of a transformer's blocks attend to: one forward more, with attention written out.

    ``by_gradient``: how the score of each block changes with it, for a backward through each block besides.
    """

    by_gradient: bool


Kind = (
    Reduction
    | Projection
    | KernelProjection
    | Weighing
    | ChannelProbe
    | InputProbe
    | PositionProbe
    | Smoothing
    | Attention
)


@final
@dataclass(frozen=True)
class Method:
    """A CAM method.

    ``oracle`` is the class of the reference package grad-cam it must agree with, "" where it has none; ``differs`` says
    where and why it does not; ``revision`` grows when the formula changes, so that a measured history breaks its line.
    ``divides_by_sum``: whether channels are weighed by a quotient below which their signed sum stands.
    """

    name: str
    title: str
    paper: str
    equation: str
    kind: Kind
    oracle: str = ""
    differs: str = ""
    revision: int = 1
    divides_by_sum: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def needs_gradient(self) -> bool:
        """Whether the tail has to be differentiated."""
        match self.kind:
            case Reduction() | Smoothing():
                return True
            case Projection(by_gradient=by_gradient):
                return by_gradient
            case _:
                return False

    @property
    def slope(self) -> Slope:
        """What it reads for the gradient, if it reads one."""
        return self.kind.slope if isinstance(self.kind, Reduction) else "score"

    @property
    def needs_score(self) -> bool:
        """Whether it explains a score: EigenCAM looks at the layer alone."""
        match self.kind:
            case ChannelProbe() | InputProbe() | PositionProbe() | Attention(by_gradient=True):
                return True
            case _:
                return self.needs_gradient

    @property
    def needs_attention(self) -> bool:
        """Whether it reads the attention between tokens, so that only a transformer has such a map."""
        return isinstance(self.kind, Attention)

    @property
    def runs_again(self) -> bool:
        """Whether it runs the model again, or a part of it, after the one forward that methods share."""
        return isinstance(self.kind, ChannelProbe | InputProbe | PositionProbe | Smoothing | Attention)


def slopes_of(methods: Iterable[Method]) -> frozenset[Slope]:
    """What these methods need differentiated."""
    return frozenset(method.slope for method in methods if method.needs_gradient)


def check_value(value: object) -> None:
    """Raise ValueError for an unknown `AblationValue`."""
    if value not in get_args(AblationValue):
        raise ValueError(f"no ablation value {value!r}; choose {', '.join(get_args(AblationValue))}")


def method_of(name: str, table: Mapping[str, Method]) -> Method:
    """The method of that name. Raises ValueError that lists the names, with the nearest first."""
    if isinstance(name, str) and name in table:  # pyright: ignore[reportUnnecessaryIsInstance]
        return table[name]
    spelled = {
        way: m.name
        for m in table.values()
        for way in filter(None, (m.name, m.name.replace("+", "p"), m.oracle.lower()))
    }
    close = get_close_matches(str(name).lower().replace("-", "").replace("_", ""), spelled, n=1)
    hint = f"did you mean {spelled[close[0]]!r}? The" if close else "the"
    raise ValueError(f"no CAM method {name!r}; {hint} methods are {', '.join(table)}")


def names_of(methods: Any) -> tuple[str, ...]:
    """The names in ``methods``, one or several, each once. Raises TypeError for anything else."""
    listed = (methods,) if isinstance(methods, str) else methods
    if not isinstance(listed, Iterable) or not all(
        isinstance(name, str) for name in cast("Iterable[Any]", listed)
    ):
        raise TypeError(f'methods must be a name, e.g. "xgradcam", or a list of names, got {methods!r:.60}')
    return tuple(dict.fromkeys(listed))

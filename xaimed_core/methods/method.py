"""What a CAM method is: a value that one engine runs, of one of twelve kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, final, get_args

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


@final
@dataclass(frozen=True)
class Biases:
    """Input x gradient and each bias x gradient, every channel scaled to [0, 1] and enlarged, added up.

    No layer is chosen: one backward through the whole network besides the shared forward, whose graph it keeps.
    """


@final
@dataclass(frozen=True)
class Product:
    """The product of the maps of ``of`` at two layers or more: one forward, and its backward from the earliest."""

    of: Method


@final
@dataclass(frozen=True)
class Windows:
    """The maps of ``of`` in windows of the images' size, slid over enlarged images, weighed by the windows' scores.

    The i-th of ``scales`` has shorter sides of 1 + i ``growth`` times the images'. Costs what ``of`` does for every
    window: of 2-D images, the sum over scales of the square of the enlargement, rounded up.
    """

    of: Method
    scales: int
    growth: float


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
    | Biases
    | Product
    | Windows
)

Places = Literal["layer", "layers", "network"]
"""Where a method looks: at a layer (of several, maps are averaged), at two or more, or at the whole network."""


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
        """Whether the score has to be differentiated."""
        match self.kind:
            case Reduction() | Smoothing() | Biases():
                return True
            case Projection(by_gradient=by_gradient):
                return by_gradient
            case Product(of=of):
                return of.needs_gradient
            case _:
                return False

    @property
    def slope(self) -> Slope:
        """What it reads for the gradient at a layer, if it reads one."""
        match self.kind:
            case Reduction(slope=slope):
                return slope
            case Product(of=of):
                return of.slope
            case _:
                return "score"

    @property
    def needs_score(self) -> bool:
        """Whether it explains a score: EigenCAM looks at the layer alone."""
        match self.kind:
            case ChannelProbe() | InputProbe() | PositionProbe() | Attention(by_gradient=True) | Windows():
                return True
            case Product(of=of):
                return of.needs_score
            case _:
                return self.needs_gradient

    @property
    def runs_again(self) -> bool:
        """Whether it runs the model again, or a part of it, after the one forward that methods share."""
        match self.kind:
            case ChannelProbe() | InputProbe() | PositionProbe() | Smoothing() | Attention() | Windows():
                return True
            case Product(of=of):
                return of.runs_again
            case _:
                return False

    @property
    def places(self) -> Places:
        """Where it looks."""
        match self.kind:
            case Biases():
                return "network"
            case Product():
                return "layers"
            case Windows(of=of):
                return of.places
            case _:
                return "layer"

    @property
    def of_whole_images(self) -> bool:
        """Whether its raw map has the images' size, and is one whatever layers there are."""
        return isinstance(self.kind, Biases | Windows)

    @property
    def of_one_pass(self) -> bool:
        """Whether the forward that methods share, at one layer, is all that it needs."""
        return self.places == "layer" and not self.runs_again

    @property
    def at_layers(self) -> Method:
        """The method whose map at each layer it is made of: itself, save of a `Product`."""
        return self.kind.of if isinstance(self.kind, Product) else self

    def over(self, base: Method) -> Method:
        """This method with another one inside: ``sess(layercam)``. Raises ValueError where it holds none."""
        match self.kind:
            case Product() if base.places != "layer" or base.of_whole_images:
                raise ValueError(f"{self.name} multiplies maps of single layers, and {base.name} has none")
            case Product() | Windows():
                kind = replace(self.kind, of=base)
                return replace(
                    self,
                    name=f"{self.name}({base.name})",
                    kind=kind,
                    oracle="",
                    differs="",
                    divides_by_sum=base.divides_by_sum,
                )
            case _:
                raise ValueError(f"{self.name} holds no other method; sess and refinecam do")


def slopes_of(methods: Iterable[Method]) -> frozenset[Slope]:
    """What these methods need differentiated at the layers."""
    read = [m.at_layers for m in methods if not m.of_whole_images]
    return frozenset(method.slope for method in read if method.needs_gradient)


def check_value(value: object) -> None:
    """Raise ValueError for an unknown `AblationValue`."""
    if value not in get_args(AblationValue):
        raise ValueError(f"no ablation value {value!r}; choose {', '.join(get_args(AblationValue))}")

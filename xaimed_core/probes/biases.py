"""FullGrad's map: what the pixels and every bias have of the score, from the graph of the one forward."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from xaimed_core.explanation import Route
from xaimed_core.isolation.subject import Subject
from xaimed_core.raw_maps import RawMap
from xaimed_core.targets import Targets
from xaimed_kernels.backends import working_dtype

_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}
_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def bias_of(module: nn.Module) -> Tensor | None:
    """What a convolution or a BatchNorm adds to its input ``[channels]``, its running mean taken in; None: nothing.

    A subclass with a forward of its own, which may do more than these, has none.
    """
    forward, bias = getattr(type(module), "forward", None), getattr(module, "bias", None)
    if bias is None:
        return None
    if forward is nn.BatchNorm2d.forward:
        batchnorm: Any = module
        if batchnorm.running_mean is None:  # it normalises by each batch's own mean
            return None
        spread = torch.sqrt(batchnorm.running_var + batchnorm.eps)
        return (bias - batchnorm.running_mean * batchnorm.weight / spread).detach()
    return bias.detach() if any(forward is each.forward for each in _CONVOLUTIONS) else None


def _adds_at_places(module: nn.Module) -> bool:
    """Whether a module holds a bias of its own; a linear layer's has no place in the image."""
    return isinstance(getattr(module, "bias", None), Tensor) and not isinstance(module, nn.Linear)


@final
class BiasWatch:
    """Looks on while `observe` runs ``images``, and keeps where autograd finds each bias's gradient.

    Raises ValueError where no module of the model has a bias that counts.
    """

    hooks_everything = True
    keeps_graph = True

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        found = [(module, bias_of(module)) for module in model.modules()]
        self.biases = [(module, bias) for module, bias in found if bias is not None]
        self.unread = sorted(
            {type(module).__name__ for module, bias in found if bias is None and _adds_at_places(module)}
        )
        if not self.biases:
            raise ValueError(
                "fullgrad explains by biases, and the model has no convolution or BatchNorm with one; ask for another "
                "method, e.g. gradcam"
            )
        with torch.inference_mode(False), torch.enable_grad():
            self.leaf = images.detach().clone().requires_grad_()
            self.images = self.leaf.clone()  # the model may write into its input
        self.logits: Tensor | None = None
        self.met: list[tuple[Tensor, GradientEdge]] = []

    @contextmanager
    def watching(self, subject: Subject) -> Generator[None]:
        """See `Observer`; entering again forgets the forward before."""
        self.met.clear()
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            for module, bias in self.biases:
                stack.enter_context(subject.on_output(module, self._meet(bias)))
            yield

    def _meet(self, bias: Tensor) -> Callable[[nn.Module, Any, Any], None]:
        def meet(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if output.requires_grad and output.ndim == self.leaf.ndim:  # a linear layer's have no place
                if len(output) != len(self.leaf):
                    raise ValueError(
                        f"fullgrad needs one row per image, and a layer with a bias returned {len(output)} for "
                        f"{len(self.leaf)} images; ask for a method of one layer, e.g. xgradcam"
                    )
                self.met.append((bias, get_gradient_edge(output)))

        return meet

    def at_layer(self, activation: Tensor) -> torch.no_grad:
        """Not called: it looks at no layer alone."""
        raise NotImplementedError

    def returned(self, logits: Tensor) -> None:
        """See `Observer`."""
        self.logits = logits

    def terms(self, targets: Targets, eps: float) -> Iterable[Tensor]:
        """``[n, *size]`` of the input, then of each bias that the forward met, in its order."""
        assert self.logits is not None
        with torch.enable_grad():
            score = targets.score(self.logits).sum()
        places = [get_gradient_edge(self.leaf), *(edge for _, edge in self.met)]
        found = torch.autograd.grad(score, places, retain_graph=True, allow_unused=True)
        of_input, *slopes = cast(tuple[Tensor | None, ...], found)
        if of_input is not None:
            yield scaled_sum(of_input * self.leaf.detach(), self.leaf.shape[2:], eps)
        for (bias, _), slope in zip(self.met, slopes, strict=True):
            if slope is not None:
                by_channel = bias.view(-1, *[1] * (slope.ndim - 2))
                yield scaled_sum(slope * by_channel, self.leaf.shape[2:], eps)

    def map_of(self, targets: Targets, eps: float) -> RawMap:
        """The sum of all terms. Raises ValueError where autograd cannot follow the score."""
        if self.logits is None or not self.logits.requires_grad:
            raise ValueError(
                "fullgrad differentiates the whole network, and autograd finds no way from the score to the images; "
                "ask for a method of one layer"
            )
        total = torch.zeros((), device=self.leaf.device)
        for term in self.terms(targets, eps):
            total = total + term
        why = f"one forward, backward of the whole network; {len(self.met)} biases"
        if self.unread:
            why += f"; those of {', '.join(self.unread)} cannot be read and are left out"
        route = Route("one pass", why)
        return RawMap(total, None, route)


def scaled_sum(values: Tensor, size: Iterable[int], eps: float) -> Tensor:
    """``[n, *size]``: magnitudes of ``values [n, c, *positions]``, each channel's from 0 to 1, added up and resized.

    Resizing is linear, so that it is done once. A channel that is constant, up to rounding, is 0 where ``eps`` is.
    """
    values = values.abs().to(working_dtype(values.dtype))
    low, high = values.flatten(2).amin(2), values.flatten(2).amax(2)
    spread = high - low
    if not eps:
        spread = spread.where(spread > 8 * torch.finfo(values.dtype).eps * high, torch.inf)
    ends = (*low.shape, *[1] * (values.ndim - 2))
    scaled = ((values - low.view(ends)) / (spread + eps).view(ends)).sum(1, keepdim=True)
    mode = _MODE[values.ndim - 2]
    return nn.functional.interpolate(scaled, tuple(size), mode=mode, align_corners=False).squeeze(1)

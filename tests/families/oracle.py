"""What a map is, once more: plain hooks, plain autograd and the definitions' formulas, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xaimed_core import METHODS, ChannelsLast, Tokens
from xaimed_core.layout import Layout

Hook = Callable[[nn.Module, Any, Any], Any]
Score = Callable[[Tensor], Tensor]


def as_maps(output: Tensor, layout: Layout | None) -> Tensor:
    """``[n, c, *positions]`` of a layer's output."""
    match layout:
        case Tokens(grid=grid, prefix=prefix):
            return output[:, prefix:].reshape(len(output), *grid, -1).movedim(-1, 1)
        case ChannelsLast():
            return output.movedim(-1, 1)
        case _:
            return output


def in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of the model as it is, without a wrapper that compiled it, in evaluation mode."""
    return copy.deepcopy(getattr(model, "_orig_mod", model)).to(dtype).eval()


def scores_of(returned: Any) -> Tensor:
    """The scores in what the table's networks return: the whole, ``logits``, "out", or the second of two."""
    if isinstance(returned, tuple):
        return returned[1]
    if isinstance(returned, dict):
        return returned["logits"] if "logits" in returned else returned["out"]
    return returned


def target_score(returned: Any, target: int | Score) -> Tensor:
    rows = scores_of(returned)
    return torch.stack([target(row) for row in rows]) if callable(target) else rows[:, target]


def finer_score(returned: Any, target: int | Score) -> Tensor:
    """By how much a class is ahead of the three of nearest score, weighed by their probabilities; of a class alone."""
    if callable(target):
        return target_score(returned, target)
    found: list[Tensor] = []
    for row in scores_of(returned):
        apart = {c: abs(float((row[c] - row[target]).detach())) for c in range(len(row)) if c != target}
        nearest = sorted(apart, key=apart.__getitem__)[:3]
        chance = row.softmax(0)[nearest]
        found.append((chance * (row[target] - row[nearest])).sum() / chance.sum())
    return torch.stack(found)


@contextmanager
def hooked(module: nn.Module, hook: Hook) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True)
class Probe:
    """A network in one precision, its images, and the layer whose maps are asked for."""

    model: nn.Module
    images: Tensor
    layer: str
    layout: Layout | None
    target: int | Score | None

    def activation_and_slopes(self, slopes: set[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """All as ``[n, c, *positions]``: what methods read for the gradient, by its name in `xaimed_core.forward`."""
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            kept.append(output if output.requires_grad else output.requires_grad_())
            return output.clone()

        with hooked(self.model.get_submodule(self.layer), keep):
            returned = self.model(self.images)
        activation, found = as_maps(kept[0], self.layout).detach(), dict[str, Tensor]()
        if not slopes:
            return activation, found
        assert self.target is not None
        scores = {"score": target_score(returned, self.target), "finer": finer_score(returned, self.target)}
        for name, score in scores.items():
            (found[name],) = torch.autograd.grad(score.sum(), kept[0], retain_graph=True)
        return activation, {name: as_maps(slope, self.layout) for name, slope in found.items()}

    @torch.no_grad()
    def drops(self, channels: list[int]) -> Tensor:
        """What the score loses without a channel ``[n, c]``: one whole forward for each."""
        assert self.target is not None

        def score(channel: int | None) -> Tensor:
            def ablate(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
                output = output.clone()
                if channel is not None:
                    maps = as_maps(output, self.layout)
                    everything = self.layout is not None and isinstance(self.layout, Tokens)
                    (output[..., channel] if everything else maps[:, channel]).zero_()
                return output

            with hooked(self.model.get_submodule(self.layer), ablate):
                return target_score(self.model(self.images), self.target).clone()

        whole = score(None)
        return torch.stack([whole - score(channel) for channel in channels], 1)


def gradcam(a: Tensor, g: Tensor) -> Tensor:
    return (g.mean(2, keepdim=True) * a).sum(1)


def gradcam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    rising = g.clamp(min=0)
    return ((rising / (2 + a.sum(2, keepdim=True) * rising)).sum(2, keepdim=True) * a).sum(1)


def xgradcam(a: Tensor, g: Tensor) -> Tensor:
    total = a.sum(2, keepdim=True)
    defined = total.abs() > 1e-6 * a.abs().sum(2, keepdim=True)
    return (torch.where(defined, (a * g).sum(2, keepdim=True) / total, 0) * a).sum(1)


def layercam(a: Tensor, g: Tensor) -> Tensor:
    return (g.clamp(min=0) * a).sum(1)


def hirescam(a: Tensor, g: Tensor) -> Tensor:
    return (g * a).sum(1)


def principal(x: Tensor) -> Tensor:
    """With the sign of the evidence, the sum over channels; where that has no side, the larger extreme is positive."""
    centred = x - x.mean(2, keepdim=True)
    _, _, directions = torch.linalg.svd(centred.mT, full_matrices=False)
    found = torch.einsum("ncs,nc->ns", centred, directions[:, 0])
    evidence = centred.sum(1)
    agreement = torch.nn.functional.cosine_similarity(found, evidence, dim=1)
    by_extremes = -found.amin(1) > found.amax(1)
    flip = torch.where(agreement.abs() > 1e-4, agreement < 0, by_extremes)
    return torch.where(flip.unsqueeze(1), -found, found)


def segmented(a: Tensor, g: Tensor) -> Tensor:
    found = principal(a * g.abs())
    return torch.where((-found.amin(1) > found.amax(1)).unsqueeze(1), -found, found)


def kernel_principal(a: Tensor, _g: Tensor) -> Tensor:
    """Of one image after another, by the centring matrix; the value farthest from 0 is positive."""
    found: list[Tensor] = []
    for places in a.mT:
        x = places - places.mean(0)
        centring = torch.eye(len(x), dtype=x.dtype) - 1 / len(x)
        values, vectors = torch.linalg.eigh(centring @ torch.tanh(x @ x.T / x.shape[1] + 1) @ centring)
        first = vectors[:, -1] * values[-1].clamp(min=0).sqrt()
        found.append(first * first[first.abs().argmax()].sign())
    return torch.stack(found)


def feature_explanation(a: Tensor, _g: Tensor) -> Tensor:
    bound = a.mean(2) + 2 * ((a - a.mean(2, keepdim=True)) ** 2).mean(2).sqrt()
    return ((a > bound.unsqueeze(2)).to(a.dtype).mean(2, keepdim=True) * a).sum(1)


def randomly_weighted(a: Tensor, _g: Tensor) -> Tensor:
    drawn = torch.rand(a.shape[1], generator=torch.Generator().manual_seed(0))
    return torch.einsum("c,ncs->ns", (2 * drawn - 1).to(a.dtype), a)


FORMULAS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "hirescam": hirescam,
    "eigencam": lambda a, _g: principal(a),
    "eigengradcam": lambda a, g: principal(a * g),
    "gradcamelementwise": lambda a, g: (g * a).clamp(min=0).sum(1),
    "finercam": gradcam,
    "segeigencam": segmented,
    "kpcacam": kernel_principal,
    "fem": feature_explanation,
    "randomcam": randomly_weighted,
}


def raw_map(method: str, activation: Tensor, slopes: dict[str, Tensor]) -> Tensor:
    """``[n, *positions]`` by the definition."""
    flat = activation.flatten(2)
    flat_gradient = slopes.get(METHODS[method].slope, activation).flatten(2)  # eigencam asks for none
    return FORMULAS[method](flat, flat_gradient).unflatten(1, activation.shape[2:])

"""`explain`: one forward, any number of CAM methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from xaimed_core.display import overlay
from xaimed_core.forward import Observation, observe, undisturbed, unwrap
from xaimed_core.layers import LayerLike, output_shapes, resolve_layers
from xaimed_core.layout import LayoutLike, choose_layout
from xaimed_core.methods import METHODS, ChannelProbe
from xaimed_core.methods.method import method_of
from xaimed_core.raw_maps import LayerView, RawMap, read_layer
from xaimed_core.semantics import SemanticsName, semantics_of
from xaimed_core.tail import AblationValue, TailObserver, observe_tail
from xaimed_core.targets import Targets, TargetsLike, any_beyond
from xaimed_kernels.rescale_maps import rescale_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@final
@dataclass(frozen=True, repr=False)
class Explanation:
    """What `explain` found, on the images' device.

    maps: per method ``[n, *size]``, float32 in [0, 1].
    raw: per method the signed map at the layer's own size, before ReLU; a tuple where several layers were given.
    weights: per method that has them, the channel weights ``[n, c]``; a tuple likewise.
    empty: per method ``bool [n]``: no positive evidence, so that the map is 0 everywhere.
    route: per method what ran, and why nothing cheaper applied.
    """

    maps: dict[str, Tensor]
    raw: dict[str, Tensor | tuple[Tensor, ...]]
    weights: dict[str, Tensor | tuple[Tensor, ...]]
    empty: dict[str, Tensor]
    route: dict[str, str]
    logits: Tensor
    targets: Targets
    layer: str

    def __repr__(self) -> str:
        size = "x".join(map(str, next(iter(self.maps.values())).shape[1:]))
        return f"Explanation({len(self.logits)} images of {size}, layer {self.layer}, methods {', '.join(self.maps)})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{int(self.empty[name].sum())} of {len(self.logits)}</td>"
            f"<td>{escape(route)}</td></tr>"
            for name, route in self.route.items()
        )
        head = "<tr><th>method</th><th>empty maps</th><th>what ran</th></tr>"
        return f"<table><caption>{escape(repr(self))}</caption>{head}{rows}</table>"

    def show(self, images: Tensor, *, count: int = 8) -> Figure:
        """A figure of the maps over the ``images`` that were explained, at most ``count`` of them.

        A notebook shows it; ``.savefig("maps.png")`` writes it to a file.
        """
        return overlay(images, self.maps, empty=self.empty, count=count)


def explain(
    model: nn.Module,
    images: Tensor,
    methods: str | Sequence[str] = ("xgradcam",),
    layer: LayerLike = None,
    targets: TargetsLike = None,
    *,
    against: TargetsLike = None,
    layout: LayoutLike = None,
    semantics: SemanticsName = "definition",
    value: AblationValue = "zero",
    memory_bytes: int | None = None,
) -> Explanation:
    """Explain what the model sees in ``images [n, channels, *size]`` by every method asked for, in one forward pass.

    layer: a module of the model, its dotted name, or several of them (their maps are averaged); None takes the
        last layer that returns ``[n, c, h, w]`` with more than one position.
    targets: the score explained: None (each image's top class), a class, one class per image, or callables that
        turn one image's output row into its score.
    against: the class, or one per image, that the targets are contrasted with: why this and not that. The score
        is the difference of the two logits.
    layout: for layers that are not ``[n, c, h, w]``: `Tokens`, `ChannelsLast` or "infer".
    semantics: "definition" follows the papers, "grad-cam" the package of that name with its epsilons.
    value: what AblationCAM puts in a channel's place: 0, or the channel's own minimum or mean over positions.
    memory_bytes: the most that AblationCAM may take for its chunks; None asks the device.

    The model's mode, hooks and gradients and the random number generators are left as they were, also after an
    error. Raises ValueError, TypeError or IndexError that say what was wrong and what to give instead.
    """
    names = (methods,) if isinstance(methods, str) else tuple(dict.fromkeys(methods))
    if not names:
        raise ValueError(f"no method was asked for; the methods are {', '.join(METHODS)}")
    chosen = [method_of(name, METHODS) for name in names]
    reading = semantics_of(semantics)
    model, unwrapped = unwrap(model)
    _check_images(model, images)
    layers = resolve_layers(model, layer, images)
    size = tuple(images.shape[2:])

    probed = any(isinstance(method.kind, ChannelProbe) for method in chosen)
    observers = _observers(model, images, layers, layout, memory_bytes) if probed else {}
    gradients = any(method.needs_gradient for method in chosen)
    seen = observe(model, images, layers, targets, against=against, gradients=gradients, observers=observers)
    tails = {name: observer.tail() for name, observer in observers.items()}
    with undisturbed(model, images.device), torch.no_grad():
        maps: list[dict[str, RawMap]] = []
        for i, name in enumerate(layers):
            here = choose_layout(layout, seen.activations[i].shape, size)
            view = LayerView(
                activations=here.to_maps(seen.activations[i]),
                gradients=here.to_maps(seen.gradients[i]) if gradients else None,
                pooled=seen.pooled,
                tail=tails.get(name),
                value=value,
            )
            maps.append(read_layer(view, chosen, reading, model, images, seen.targets))
        raws = [torch.cat([of_layer[name].raw for name in names]) for of_layer in maps]
        rescaled = rescale_maps(raws, size, eps=reading.min_max_eps)
        _check_findings(rescaled.finite, names, images, seen)
    n = len(images)
    weights = {name: [w for m in maps if (w := m[name].weights) is not None] for name in names}
    return Explanation(
        maps=dict(zip(names, rescaled.maps.split(n), strict=True)),
        raw={name: _one_or_all([m[name].raw for m in maps]) for name in names},
        weights={name: _one_or_all(found) for name, found in weights.items() if found},
        empty=dict(zip(names, rescaled.empty.split(n), strict=True)),
        route={name: "; ".join(filter(None, (maps[0][name].route, unwrapped))) for name in names},
        logits=seen.logits,
        targets=seen.targets,
        layer=", ".join(layers),
    )


def _observers(
    model: nn.Module,
    images: Tensor,
    layers: Mapping[str, nn.Module],
    layout: LayoutLike,
    memory_bytes: int | None,
) -> dict[str, TailObserver]:
    return {
        name: observe_tail(
            model,
            module,
            images,
            channel_dim=_channel_dim(model, name, images, layout),
            memory_bytes=memory_bytes,
        )
        for name, module in layers.items()
    }


def _channel_dim(model: nn.Module, layer: str, images: Tensor, layout: LayoutLike) -> int:
    """Where the layer's output holds its channels, known before the forward that is watched."""
    if layout != "infer":
        return layout.channel_dim if layout else 1
    shape = output_shapes(model, images).get(layer, ())
    return choose_layout(layout, shape, images.shape[2:]).channel_dim


def _one_or_all(tensors: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _check_images(model: nn.Module, images: Tensor) -> None:
    if not isinstance(images, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"images must be a tensor [n, channels, height, width], got {type(images).__name__}")
    if images.ndim < 3:
        raise ValueError(
            f"images must be [n, channels, *size], got {tuple(images.shape)}; add the batch axis with images[None]"
        )
    if images.numel() == 0:
        raise ValueError(f"the batch is empty: images have shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(
            f"images must be floating point as the model expects them, got {images.dtype}; convert and normalise them"
        )
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != images.device:
        raise ValueError(
            f"the model is on {parameter.device}, the images on {images.device}; move one with .to()"
        )


def _check_findings(finite: Tensor, names: Sequence[str], images: Tensor, seen: Observation) -> None:
    """Read the device's findings once, after the last launch; turn them into an error that names the first cause."""
    *good, image_sum = torch.cat([finite.float(), images.sum(dtype=torch.float32)[None]]).tolist()
    if any_beyond(seen.targets):
        raise IndexError(
            f"a target is out of range: the model has the classes 0 to {seen.logits.shape[1] - 1}"
        )
    if not isfinite(image_sum):
        raise ValueError("the images hold NaN or infinite values")
    if all(good):
        return
    if not all(bool(torch.isfinite(a).all()) for a in seen.activations):
        raise ValueError(
            "the layer's activations hold NaN or infinite values, which the model itself computed"
        )
    wrong = sorted({names[i // len(images)] for i, one in enumerate(good) if not one})
    raise ValueError(
        f"the maps of {', '.join(wrong)} are not finite although images and activations are: "
        "the score's gradient is not, or (gradcam++, signed activations) sum(A) g meets the pole at -2"
    )

"""What one forward shows of a network's layers: what each returns, how it lies, and whether the score depends on it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaimed_core.autograd_graph import axis_order, nodes_behind
from xaimed_core.isolation.subject import subject_of, undisturbed
from xaimed_core.layout import Told
from xaimed_core.outputs import OutputChoice, call, rows_of

if TYPE_CHECKING:
    from xaimed_core.origin.trace import Trace

REMEMBERED = 8
"""Image sizes per model whose anatomy is kept."""

WEIGHING = ("Convolution", "MkldnnConvolution", "SlowConv", "ThnnConv", "Addmm", "Mm", "Bmm")
"""Beginnings of the names of operations that mix channels by weights."""


@final
@dataclass(frozen=True)
class Layer:
    """What a module of this ``kind`` returned in its last call: a tensor of this ``shape``, in a forward of one image.

    calls: how often the module ran. told: what the operations that made the tensor say of how it lies.
    weighed: whether weights come between it and the scores; else it is the scores already, place by place.
    used: whether the score depends on it. placed: for which places along axis 1 the score's gradient is not 0.
    activation: the layer of the same shape that gives it, or its norm or sum with a shortcut, behind a ReLU; "" where
    there is none, or where it is called more than once.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    told: Told
    weighed: bool
    used: bool
    placed: tuple[bool, ...]
    activation: str = ""


_known: WeakKeyDictionary[nn.Module, OrderedDict[Any, tuple[Layer, ...]]] = WeakKeyDictionary()


def layers_of(model: nn.Module, images: Tensor, output: OutputChoice = None) -> tuple[Layer, ...]:
    """Every module that returns a tensor, in the order in which their last calls end.

    Costs one forward and one backward of one image, once per model and image size.
    """
    known = _known.setdefault(model, OrderedDict())
    modules = tuple((id(module), type(module)) for module in model.modules())
    key = (modules, tuple(images.shape[1:]), images.dtype, output)
    if key not in known:
        try:
            known[key] = _look(model, images[:1], output, whole=len(images) == 1)
        except Exception:  # the model may want the batch that it holds something for: if not, it raises again
            if len(images) == 1:
                raise
            known[key] = _look(model, images, output, whole=True)
        while len(known) > REMEMBERED:
            known.popitem(last=False)
    return known[key]


@final
@dataclass
class _Returned:
    """What a module returned last, how often, and what autograd knew of it then."""

    tensor: Tensor
    node: Any
    output: int
    calls: int


def _look(model: nn.Module, images: Tensor, output: OutputChoice, *, whole: bool) -> tuple[Layer, ...]:
    """Raises, too, where part of a batch gives no scores: the ``whole`` batch may."""
    from xaimed_core.origin.trace import Trace

    found: dict[str, _Returned] = {}
    names = {name: module for name, module in model.named_modules() if name}

    def see(name: str, returned: Any) -> None:
        before = found.pop(name, None)
        if isinstance(returned, Tensor):
            calls = 1 if before is None else before.calls + 1
            found[name] = _Returned(returned, returned.grad_fn, returned.output_nr, calls)

    subject = subject_of(model, None)
    with ExitStack() as stack:
        stack.enter_context(undisturbed(subject, images.device))
        for name, module in names.items():
            if not isinstance(module, torch.jit.ScriptModule):
                hook = subject.on_output(module, lambda _m, _i, returned, name=name: see(name, returned))
                stack.enter_context(hook)
        with torch.enable_grad():
            leaf = images.detach().clone().requires_grad_()
            returned = call(subject.root, leaf)
            try:
                scores = rows_of(returned, len(images), output)[0]
            except (TypeError, ValueError):
                if not whole:
                    raise
                scores = None
            gradients = _gradients(scores, [seen.tensor for seen in found.values()])
    unweighed, activations, trace = _unweighed(scores), _activations(found), Trace(leaf)
    return tuple(
        Layer(
            name,
            type(names[name]).__name__,
            tuple(seen.tensor.shape),
            seen.calls,
            _told(seen, trace),
            seen.node not in unweighed,
            *_use(gradient),
            activations.get(name, ""),
        )
        for (name, seen), gradient in zip(found.items(), gradients, strict=True)
    )


def _told(seen: _Returned, trace: Trace) -> Told:
    from xaimed_core.origin.reading import layout_by_origin, why_unreadable

    order = axis_order(seen.node, seen.tensor.ndim)
    axes = trace.axes_of(seen.node, seen.output) if seen.tensor.ndim > 2 else None
    if axes is None:
        return Told(order)
    layout = layout_by_origin(axes, trace.images.ndim - 2)
    return Told(order, layout, "" if layout else why_unreadable(axes))


def _use(gradient: Tensor | None) -> tuple[bool, tuple[bool, ...]]:
    """Whether there is a gradient, and for which places along axis 1 it is not 0."""
    if gradient is None:
        return False, ()
    return True, tuple((gradient != 0).flatten(2).any(2).any(0).tolist()) if gradient.ndim > 2 else ()


def _gradients(scores: Tensor | None, tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of a mixture of all scores at each tensor, None where no way leads to one.

    Where the model returns nothing that could be a score, every layer counts as used by something unknown.
    """
    if scores is None:
        return [torch.ones_like(tensor, dtype=torch.float32) for tensor in tensors]
    at = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
    found: list[Tensor | None] = [None] * len(tensors)
    if scores.requires_grad and at:
        mixture = (
            scores.float() * torch.linspace(1, 2, scores.numel()).view_as(scores).to(scores.device)
        ).sum()
        try:
            gradients = torch.autograd.grad(mixture, [tensors[i] for i in at], allow_unused=True)
        except RuntimeError as error:  # the model's own operations, of which autograd has no gradient
            if isinstance(error, torch.OutOfMemoryError):
                raise
            gradients = [torch.ones_like(tensors[i]) for i in at]
        for i, gradient in zip(at, gradients, strict=True):
            found[i] = gradient
    if not any(
        one is not None and one.ndim > 2 and one.any() for one in found
    ):  # as where a head starts at 0
        return [None if gradient is None else torch.ones_like(gradient) for gradient in found]
    return found


def _unweighed(scores: Tensor | None) -> set[Any]:
    """The operations from which scores are made without any more weights."""
    if scores is None:
        return set()
    return set(nodes_behind(scores.grad_fn, _mixes_nothing))


def _mixes_nothing(node: Any) -> bool:
    return not type(node).__name__.startswith(WEIGHING)


def _activations(found: Mapping[str, _Returned]) -> dict[str, str]:
    """By layer, where its values are after the next ReLU: the outermost module that returns just that."""
    by_node: dict[Any, list[str]] = {}
    for name, seen in found.items():
        by_node.setdefault(seen.node, []).append(name)
    after: dict[str, str] = {}
    for node, names in by_node.items():
        once = [name for name in names if found[name].calls == 1]
        if not once or not _is_relu(node):
            continue
        outermost = [name for name in once if once[0] == name or once[0].startswith(f"{name}.")][-1]
        for before in nodes_behind(node, _mixes_nothing):
            for name in by_node.get(before, ()) if before is not node else ():
                if found[name].tensor.shape == found[outermost].tensor.shape:
                    after.setdefault(name, outermost)
    return after


def _is_relu(node: Any) -> bool:
    """ReLU, or one with a ceiling, as ReLU6."""
    kind = type(node).__name__.partition("Backward")[0]
    return kind == "Relu" or (kind == "Hardtanh" and node._saved_min_val == 0)

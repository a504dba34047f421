"""What one forward shows of a network's layers: what each returns, how it lies, and whether the score depends on it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xaimed_core.isolation.subject import subject_of, undisturbed
from xaimed_core.layout import AxisOrder
from xaimed_core.outputs import OutputChoice, call, rows_of

REMEMBERED = 8
"""Image sizes per model whose anatomy is kept."""

KEEPS_ORDER = frozenset(
    (
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Relu",
        "LeakyRelu",
        "PreluKernel",
        "Elu",
        "Celu",
        "Selu",
        "Gelu",
        "Silu",
        "Mish",
        "Hardtanh",
        "Hardswish",
        "Hardsigmoid",
        "Sigmoid",
        "Tanh",
        "Softplus",
        "Threshold",
        "Clamp",
        "ClampMin",
        "ClampMax",
        "Pow",
        "Sqrt",
        "Exp",
        "Clone",
        "Alias",
        "Cat",
        "Slice",
        "Split",
        "SplitWithSizes",
        "Unbind",
        "NativeDropout",
        "ToCopy",
        "ConstantPadNd",
        "MaskedFill",
        "Where",
        "Maximum",
        "Minimum",
    )
)
"""Operations after which channels lie along the axis along which they lay before."""

CHANNELS_FIRST = (
    "Convolution",
    "MkldnnConvolution",
    "NativeBatchNorm",
    "CudnnBatchNorm",
    "NativeGroupNorm",
    "MaxPool",
    "AvgPool",
    "AdaptiveAvgPool",
    "MkldnnAdaptiveAvgPool",
    "AdaptiveMaxPool",
    "Upsample",
    "SlowConv",
    "ThnnConv",
    "PixelShuffle",
    "ReflectionPad",
    "ReplicationPad",
)
"""Beginnings of the names of operations that take channels along axis 1 alone."""


@final
@dataclass(frozen=True)
class Layer:
    """What a module of this ``kind`` returned in its last call: a tensor of this ``shape``, in a forward of one image.

    calls: how often the module ran. order: where the operations that made the tensor say that its channels are.
    used: whether the score depends on it. gradient: the score's gradient there, where anybody asked for it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    calls: int
    order: AxisOrder
    used: bool
    placed: tuple[bool, ...]


_known: WeakKeyDictionary[nn.Module, OrderedDict[Any, tuple[Layer, ...]]] = WeakKeyDictionary()


def layers_of(model: nn.Module, images: Tensor, output: OutputChoice = None) -> tuple[Layer, ...]:
    """Every module that returns a tensor, in the order in which their last calls end.

    Costs one forward and one backward of one image, once per model and image size.
    """
    known = _known.setdefault(model, OrderedDict())
    modules = tuple((id(module), type(module)) for module in model.modules())
    key = (modules, tuple(images.shape[1:]), images.dtype, output if isinstance(output, int | str) else None)
    if key not in known:
        try:
            known[key] = _look(model, images[:1], output)
        except Exception:  # the model may want the batch that it holds something for: if not, it raises again
            if len(images) == 1:
                raise
            known[key] = _look(model, images, output)
        while len(known) > REMEMBERED:
            known.popitem(last=False)
    return known[key]


@final
@dataclass
class _Returned:
    """What a module returned last, how often, and what autograd knew of it then."""

    tensor: Tensor
    node: Any
    calls: int


def _look(model: nn.Module, images: Tensor, output: OutputChoice) -> tuple[Layer, ...]:
    found: dict[str, _Returned] = {}
    names = {name: module for name, module in model.named_modules() if name}

    def see(name: str, returned: Any) -> None:
        before = found.pop(name, None)
        if isinstance(returned, Tensor):
            calls = 1 if before is None else before.calls + 1
            found[name] = _Returned(returned, returned.grad_fn, calls)

    subject = subject_of(model, None)
    with ExitStack() as stack:
        stack.enter_context(undisturbed(subject, images.device))
        for name, module in names.items():
            if not isinstance(module, torch.jit.ScriptModule):
                hook = subject.on_output(module, lambda _m, _i, returned, name=name: see(name, returned))
                stack.enter_context(hook)
        with torch.enable_grad():
            returned = call(subject.root, images.detach().clone().requires_grad_())
            gradients = _gradients(returned, [seen.tensor for seen in found.values()], len(images), output)
    return tuple(
        Layer(
            name,
            type(names[name]).__name__,
            tuple(seen.tensor.shape),
            seen.calls,
            _order(seen.node),
            *_use(gradient),
        )
        for (name, seen), gradient in zip(found.items(), gradients, strict=True)
    )


def _use(gradient: Tensor | None) -> tuple[bool, tuple[bool, ...]]:
    """Whether there is a gradient, and for which places along axis 1 it is not 0."""
    if gradient is None:
        return False, ()
    return True, tuple((gradient != 0).flatten(2).any(2).any(0).tolist()) if gradient.ndim > 2 else ()


def _gradients(returned: Any, tensors: Sequence[Tensor], n: int, output: OutputChoice) -> list[Tensor | None]:
    """The gradient of a mixture of all scores at each tensor, None where no way leads to one.

    Where the model returns nothing that could be a score, every layer counts as used by something unknown.
    """
    try:
        scores, _ = rows_of(returned, n, output)
    except (TypeError, ValueError):
        return [torch.ones_like(tensor, dtype=torch.float32) for tensor in tensors]
    at = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
    found: list[Tensor | None] = [None] * len(tensors)
    if scores.requires_grad and at:
        mixture = (
            scores.float() * torch.linspace(1, 2, scores.numel()).view_as(scores).to(scores.device)
        ).sum()
        gradients = torch.autograd.grad(mixture, [tensors[i] for i in at], allow_unused=True)
        for i, gradient in zip(at, gradients, strict=True):
            found[i] = gradient
    return found


def _order(node: Any) -> AxisOrder:
    """Where the operations before a tensor say that its channels are; None where they do not."""
    waiting, seen = [node], set[Any]()
    while waiting:
        node = waiting.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        name = type(node).__name__.partition("Backward")[0]
        if name.startswith(CHANNELS_FIRST):
            return "first"
        if name in ("NativeLayerNorm", "FusedRmsNorm"):
            if len(getattr(node, "_saved_normalized_shape", ())) == 1:
                return "last"
        elif name in ("View", "UnsafeView"):
            if any(type(source).__name__.startswith(("Addmm", "Mm")) for source, _ in node.next_functions):
                return "last"
        elif name in KEEPS_ORDER:
            waiting.extend(source for source, _ in node.next_functions)
    return None

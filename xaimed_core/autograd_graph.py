"""What the graph that autograd kept says of a tensor: what it was made by, and along which axis it has its channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from xaimed_core.layout import AxisOrder

_PLACEWISE = """
    Add Sub Mul Div Neg Relu LeakyRelu PreluKernel Elu Celu Selu Gelu Silu Mish Hardtanh Hardswish
    Hardsigmoid Sigmoid Tanh Softplus Threshold Clamp ClampMin ClampMax Pow Sqrt Exp Clone Alias Cat
    Slice Split SplitWithSizes Unbind NativeDropout ToCopy ConstantPadNd MaskedFill Where Maximum
    Minimum
"""

VIEWS = ("View", "UnsafeView")

KEEPS_ORDER = frozenset(_PLACEWISE.split())
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


def axis_order(node: Any, ndim: int) -> AxisOrder:
    """Where the operations before a tensor say that its channels are; None where they do not.

    On the way back it is known which axis of an earlier tensor each axis was, as long as axes are only permuted.
    """
    waiting: list[tuple[Any, tuple[int, ...]]] = [(node, tuple(range(ndim)))]
    seen = set[Any]()
    while waiting:
        node, axes = waiting.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        name = type(node).__name__.partition("Backward")[0]
        channels = _channel_axis(node, name, ndim)
        if channels is not None:
            at = axes.index(channels)
            return "first" if at == 1 else "last" if at == ndim - 1 else None
        moved = _permuted(node, name, axes)
        if moved is not None:
            waiting.extend((source, moved) for source, _ in node.next_functions)
    return None


def _channel_axis(node: Any, name: str, ndim: int) -> int | None:
    """The axis along which an operation gives channels, None where it does not say."""
    if name.startswith(CHANNELS_FIRST):
        return 1
    if name in ("NativeLayerNorm", "FusedRmsNorm"):
        return ndim - 1 if len(getattr(node, "_saved_normalized_shape", ())) == 1 else None
    before = [type(source).__name__ for source, _ in node.next_functions] if name in VIEWS else []
    if any(source.startswith(("Addmm", "Mm")) for source in before):  # a linear layer
        return ndim - 1
    return 1 if any("BatchNorm" in source for source in before) else None  # an instance norm


def _permuted(node: Any, name: str, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """``axes`` before an operation that keeps them apart; None for one that does not."""
    n = len(axes)
    if name in KEEPS_ORDER:
        return axes
    if name == "Permute":
        dims = [signed(dim) % n for dim in node._saved_dims]
        return tuple(dims[axis] for axis in axes) if len(dims) == n else None
    if name == "Transpose":
        one, other = signed(node._saved_dim0) % n, signed(node._saved_dim1) % n
        return tuple({one: other, other: one}.get(axis, axis) for axis in axes)
    return None


def nodes_behind(last: Any, beyond: Callable[[Any], bool] = lambda _: True) -> Iterator[Any]:
    """The operations from the ``last`` one back, itself first; past one of them only where ``beyond`` says so."""
    waiting, seen = [last], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if beyond(node):
            waiting.extend(source for source, _ in node.next_functions)


def signed(dim: int) -> int:
    """Autograd saves a negative dimension as an unsigned 64-bit number."""
    return dim - 2**64 if dim >= 2**63 else dim


def only_pooled(scores: Tensor, kept: Tensor) -> bool:
    """Whether every path from the score to the layer's output enters it through a mean over all positions."""
    positions = set(range(2, kept.ndim))
    entered = False
    stack, seen = [scores.grad_fn], set[Any]()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for source, _ in node.next_functions:
            through = _past_clone(source)
            if getattr(through, "variable", None) is kept:
                dims = getattr(node, "_saved_dim", None) if type(node).__name__ == "MeanBackward1" else None
                if dims is None or {signed(d) % kept.ndim for d in dims} != positions:
                    return False
                entered = True
            elif source is not None:
                stack.append(source)
    return entered


def _past_clone(node: Any) -> Any:
    return node.next_functions[0][0] if type(node).__name__ == "CloneBackward0" else node

"""What one operation does to the axes of its inputs: a rule for each kind of autograd node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xaimed_core.autograd_graph import CHANNELS_FIRST, KEEPS_ORDER, signed
from xaimed_core.origin.axes import (
    Axis,
    Part,
    between,
    channels,
    has_places,
    length,
    mixed,
    reshaped,
    resized,
    sliced,
    together,
    whole,
)

Axes = tuple[Axis, ...]
Sources = Sequence[Axes | None]
"""By input; None for what is not followed, and for constants."""
Size = tuple[int, ...]

_MORE = """
    Softmax SafeSoftmax LogSoftmax Rsqrt Reciprocal Abs Erf Sin Cos Log Log1P Lerp Addcmul Addcdiv Round Floor Sign
    NativeLayerNorm FusedRmsNorm NativeGroupNorm NativeBatchNorm CudnnBatchNorm MiopenBatchNorm
    ChannelShuffle Cumsum RreluWithNoise
"""
PLACEWISE = frozenset(_MORE.split()) | KEEPS_ORDER
RESHAPES = ("View", "UnsafeView", "ReshapeAlias", "Unsqueeze", "Squeeze")
REDUCES = ("Mean", "Sum", "Amax", "Amin", "Max", "Min", "Var", "Std", "Norm", "LinalgVectorNorm", "Logsumexp")
POOLS = (*(name for name in CHANNELS_FIRST if "Norm" not in name), "PixelUnshuffle", "MaxUnpool")
PRODUCTS = {"Mm": 0, "Bmm": 0, "Addmm": 1, "Baddbmm": 1, "Linear": 0, "MkldnnLinear": 0}
"""Products of matrices, and which input is the left one."""


def rule(name: str) -> Callable[[Any, int, Sources, Size], Axes | None]:
    """Of a node by its name without "Backward0"; one that gives None, not known, for the others."""
    if name in RESHAPES:
        return lambda _node, _output, given, size: None if given[0] is None else reshaped(given[0], size)
    if name in PRODUCTS:
        return lambda _node, _output, given, size: _product(given[PRODUCTS[name] :], size)
    if name.startswith("ScaledDotProduct"):
        return lambda _node, output, given, size: None if output else _product((given[0], given[2]), size)
    if name in _RULES:
        return _RULES[name]
    if name in PLACEWISE:
        return lambda _node, _output, given, size: _placewise(given, size)
    if name.startswith(POOLS):
        return lambda _node, _output, given, size: _pooled(given, size)
    if name in REDUCES:
        return _reduced
    return lambda _node, _output, _given, _size: None


def _placewise(given: Sources, size: Size) -> Axes:
    """Inputs are held against the result from the last axis on, as torch does."""
    found = [axes for axes in given if axes is not None]
    held = [((),) * (len(size) - len(axes)) + axes for axes in found]
    return tuple(together([axes[i] for axes in held], s) for i, s in enumerate(size))


def _pooled(given: Sources, size: Size) -> Axes | None:
    if given[0] is None:
        return None
    batch, _, *places = given[0]
    return (batch, channels(size[1]), *map(resized, places, size[2:]))


def _padded(_node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    return None if given[0] is None else tuple(map(resized, given[0], size))


def _product(given: Sources, size: Size) -> Axes:
    """Rows come from the left, columns from the right."""
    left, right = (axes if axes is not None else ((),) * len(size) for axes in (*given, None)[:2])
    batch = _placewise([axes[:-2] for axes in (left, right)], size[:-2])
    rows, columns = together([left[-2]], size[-2]), together([right[-1]], size[-1])
    return (*batch, rows, columns)


def _reduced(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    axes = given[0]
    if axes is None or not size:
        return None if axes is None else ()
    dims = node._saved_dim
    gone = {signed(d) % len(axes) for d in ((dims,) if isinstance(dims, int) else dims)}
    kept = len(size) == len(axes)
    return tuple(() if i in gone else axis for i, axis in enumerate(axes) if kept or i not in gone)


def _permuted(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    axes, n = given[0], len(size)
    if axes is None:
        return None
    if hasattr(node, "_saved_dims"):
        return tuple(axes[signed(d) % n] for d in node._saved_dims)
    order = list(range(n))
    one, other = (signed(d) % n for d in (getattr(node, "_saved_dim0", 0), getattr(node, "_saved_dim1", 1)))
    order[one], order[other] = other, one
    return tuple(axes[i] for i in order)


def _selected(node: Any, _output: int, given: Sources, _size: Size) -> Axes | None:
    axes = given[0]
    if axes is None:
        return None
    gone = signed(node._saved_dim) % len(axes)
    return axes[:gone] + axes[gone + 1 :]


def _sliced(node: Any, output: int, given: Sources, size: Size) -> Axes | None:
    if given[0] is None:
        return None
    axes, at = list(given[0]), signed(node._saved_dim) % len(size)
    if hasattr(node, "_saved_split_sizes"):
        start = sum(node._saved_split_sizes[:output])
    elif hasattr(node, "_saved_split_size"):
        start = node._saved_split_size * output
    else:
        start = signed(node._saved_start or 0)
        start += length(axes[at]) if start < 0 else 0
    axes[at] = sliced(axes[at], start, size[at])
    return tuple(axes)


def _joined(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    at = signed(node._saved_dim) % len(size)
    along = [None if axes is None else axes[at] for axes in given]
    unknown = size[at] - sum(length(axis) for axis in along if axis is not None)
    placed = [i for i, axis in enumerate(along) if axis is not None and has_places(axis)]
    if len([axis for axis in along if axis is None]) > 1 and placed:
        return None
    sizes = [unknown if axis is None else length(axis) for axis in along]
    axis = channels(size[at])
    if len(placed) == 1:
        (i,) = placed
        axis = between(sum(sizes[:i]), along[i] or (), sum(sizes[i + 1 :]))
    elif placed:
        axis = mixed(size[at])
    others = [(*axes[:at], (), *axes[at + 1 :]) for axes in given if axes is not None]
    found = list(_placewise(others, size))
    found[at] = axis
    return tuple(found)


def _stacked(node: Any, _output: int, given: Sources, size: Size) -> Axes:
    at = signed(node._saved_dim) % len(size)
    one = _placewise(given, size[:at] + size[at + 1 :])
    return (*one[:at], channels(size[at]), *one[at:])


def _unfolded(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    """Patches, one after the other, whose own places lie among the channels."""
    if given[0] is None:
        return None
    counts = [
        (length(axis) + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        for axis, kernel, dilation, pad, stride in zip(
            given[0][2:],
            node._saved_kernel_size,
            node._saved_dilation,
            node._saved_padding,
            node._saved_stride,
            strict=True,
        )
    ]
    rows, columns = (resized(axis, count) for axis, count in zip(given[0][2:], counts, strict=True))
    return given[0][0], channels(size[1]), rows + columns


def _folded(_node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    """Patches that lie one after the other, put side by side again."""
    if given[0] is None:
        return None
    batch, _, patches = given[0]
    sources = [part.source for part in patches if part.covers and isinstance(part.source, int)]
    ordered = len(sources) == len(patches) and sources == sorted({*sources})
    places = (whole(i, s) if ordered else mixed(s) for i, s in enumerate(size[2:]))
    return batch, channels(size[1]), *places


def _windowed(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    """``Tensor.unfold``: windows along an axis, and what lies in each as a new last axis."""
    if given[0] is None:
        return None
    axes, at = list(given[0]), signed(node._saved_dimension) % (len(size) - 1)
    count, within = size[at], size[-1]
    cut = reshaped([axes[at]], (count, within)) if node._saved_step == within else None
    outer, inner = cut or (
        resized(axes[at], count),
        mixed(within) if has_places(axes[at]) else channels(within),
    )
    axes[at] = outer
    return (*axes, inner)


def _picked(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    """Channels taken in any order; places that are, are not followed."""
    axes = given[0]
    at = signed(node._saved_dim) % len(size)
    if axes is None or has_places(axes[at]):
        return None
    return (*axes[:at], channels(size[at]), *axes[at + 1 :])


def _expanded(_node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    axes = given[0]
    if axes is None:
        return None
    axes = ((),) * (len(size) - len(axes)) + axes
    return tuple(
        axis if length(axis) == s else mixed(s) if has_places(axis) else channels(s)
        for axis, s in zip(axes, size, strict=True)
    )


def _rolled(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    if given[0] is None:
        return None
    axes = list(given[0])
    for dim, shift in zip(node._saved_dims, node._saved_shifts, strict=True):
        at = signed(dim) % len(size)
        (part, *others) = axes[at] or (Part(None, 1),)
        if part.source is not None:
            moved = Part(
                part.source,
                part.count,
                part.stride,
                part.of,
                (part.shift + signed(shift)) % part.of if part.of else 0,
            )
            axes[at] = mixed(size[at]) if others or part.count != part.of else (moved,)
    return tuple(axes)


def _flipped(node: Any, _output: int, given: Sources, size: Size) -> Axes | None:
    if given[0] is None:
        return None
    gone = {signed(d) % len(size) for d in node._saved_dims}
    return tuple(
        mixed(size[i]) if i in gone and has_places(axis) else axis for i, axis in enumerate(given[0])
    )


_RULES = {
    "Permute": _permuted, "Transpose": _permuted, "T": _permuted, "Select": _selected, "Unbind": _selected,
    "Slice": _sliced, "Split": _sliced, "SplitWithSizes": _sliced, "Cat": _joined, "Stack": _stacked,
    "Expand": _expanded, "Repeat": _expanded, "Im2Col": _unfolded, "Col2Im": _folded, "Unfold": _windowed,
    "ConstantPadNd": _padded, "CopySlices": _padded, "Glu": _padded, "Roll": _rolled, "Flip": _flipped,
    "Rot90": _flipped, "IndexSelect": _picked,
}  # fmt: skip

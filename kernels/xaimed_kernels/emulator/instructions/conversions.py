"""PTX's comparisons and conversions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from xaimed_kernels.emulator.instructions.operation import Arithmetic
from xaimed_kernels.emulator.ptx_types import TYPES, Array, Type

_COMPARISONS: Mapping[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def compare(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    """Ordered comparisons are false where one side is NaN; with a ``u`` at the end, true."""
    (how,) = modifiers
    predicate = TYPES["pred"]

    def unordered(a: Array, b: Array) -> Array:
        return np.isnan(a) | np.isnan(b)

    def build(test: Callable[[Array, Array], Array]) -> Arithmetic:
        return Arithmetic((kind, kind), predicate, test)

    if kind.kind != "float":
        return build(_COMPARISONS[{"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}.get(how, how)])
    match how:
        case "num":
            return build(lambda a, b: ~unordered(a, b))
        case "nan":
            return build(unordered)
        case "ne":
            return build(lambda a, b: (a != b) & ~unordered(a, b))
        case _ if how in _COMPARISONS:
            return build(_COMPARISONS[how])
        case _:
            ordered = _COMPARISONS[how.removesuffix("u")]
            return build(lambda a, b: ordered(a, b) | unordered(a, b))


_ROUNDINGS = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def convert(modifiers: tuple[str, ...], result: Type, source: Type) -> Arithmetic:
    """Between floats rounded to the nearest; to integers clamped, NaN to 0; between integers cut or widened."""
    (rounding,) = modifiers or ("",)
    if source.kind == "float" and rounding in _ROUNDINGS:
        rounded = _ROUNDINGS[rounding]
        if result.kind == "float":
            return Arithmetic((source,), result, rounded)
        low, high = np.iinfo(result.numpy).min, np.iinfo(result.numpy).max

        def clamped(values: Array) -> Array:
            # compared before the cast, for 2^63 - 1 is no float64: it rounds to 2^63, which does not fit
            whole = rounded(values.astype(np.float64))
            inside = np.where((whole >= low) & (whole < float(high)), whole, 0).astype(result.numpy)
            return np.where(whole >= float(high), high, np.where(whole < low, low, inside)).astype(
                result.numpy
            )

        return Arithmetic((source,), result, clamped)
    into_float = result.kind == "float"
    if rounding not in ("", "rn") or (source.kind == "float" and not into_float):
        raise KeyError(modifiers)
    return Arithmetic((source,), result, lambda values: values.astype(result.numpy))

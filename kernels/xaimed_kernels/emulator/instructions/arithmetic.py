"""PTX's instructions on registers alone: what each opcode takes, gives and computes, on arrays of one value a thread.

Exact but for four things: ``approx`` and ``full`` variants are rounded correctly here (a GPU errs by an ulp or two),
``fma.f32`` is rounded twice (to float64, then to float32), ``fma.f64`` through the machine's long double, and NaNs
have NumPy's bits.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import final

import numpy as np

from xaimed_kernels.emulator.instructions.bits import BITS
from xaimed_kernels.emulator.program import UnknownInstructionError
from xaimed_kernels.emulator.types import TYPES, Array, Type


@final
@dataclass(frozen=True)
class Arithmetic:
    """An opcode: the types of its sources and its result, and the function from values to values."""

    sources: tuple[Type, ...]
    result: Type
    compute: Callable[..., Array]


@cache
def arithmetic(opcode: str) -> Arithmetic | None:
    """What ``opcode`` computes, as ``"fma.rn.f32"``; None where it is no instruction on registers alone.

    Raises: UnknownInstructionError for a modifier or type that its stem is not modelled with.
    """
    stem, *rest = opcode.split(".")
    types = [TYPES[part] for part in rest if part in TYPES]
    modifiers = [part for part in rest if part not in TYPES]
    build = _BUILDERS.get(stem)
    if build is None:
        return None
    flush = "ftz" in modifiers
    try:
        built = build(tuple(part for part in modifiers if part != "ftz"), *types)
    except (KeyError, TypeError):
        raise UnknownInstructionError(opcode) from None
    return _flushing(built) if flush else built


def _flushing(exact: Arithmetic) -> Arithmetic:
    """``.ftz``: subnormal float32 inputs and results are zeros of their sign."""

    def flush(values: Array) -> Array:
        tiny = np.abs(values) < np.finfo(np.float32).tiny
        return np.where(tiny, np.copysign(np.float32(0), values), values)

    def flushed(values: Array) -> Array:
        return flush(values) if values.dtype == np.float32 else values

    return replace(
        exact, compute=lambda *values: flushed(exact.compute(*(flushed(value) for value in values)))
    )


_ROUNDING: Container[tuple[str, ...]] = {(), ("rn",)}


def _same(
    function: Callable[..., Array], sources: int, allowed: Container[tuple[str, ...]] = _ROUNDING
) -> Callable[..., Arithmetic]:
    """An instruction whose sources and result have one type."""

    def build(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
        if modifiers not in allowed:
            raise KeyError(modifiers)
        return Arithmetic((kind,) * sources, kind, function)

    return build


def _add(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    if kind.name == "s16x2":
        return Arithmetic((kind, kind), kind, _add_halves)
    return _same(np.add, 2)(modifiers, kind)


def _add_halves(a: Array, b: Array) -> Array:
    """Two sums of 16 bits, without a carry between them."""
    return (a + b & 0xFFFF) | ((a >> 16) + (b >> 16) & 0xFFFF) << 16


def _multiply(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    if kind.kind == "float":
        return _same(np.multiply, 2)(modifiers, kind)
    match modifiers:
        case ("lo",):
            return Arithmetic((kind, kind), kind, np.multiply)
        case ("wide",):
            wide = _wider(kind)
            return Arithmetic((kind, kind), wide, lambda a, b: a.astype(wide.numpy) * b.astype(wide.numpy))
        case ("hi",):
            wide = _wider(kind)
            shift = 8 * kind.size
            return Arithmetic(
                (kind, kind), kind, lambda a, b: a.astype(wide.numpy) * b.astype(wide.numpy) >> shift
            )
        case _:
            raise KeyError(modifiers)


def _multiply_add(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    product = _multiply(modifiers, kind)
    if kind.kind == "float" or modifiers == ("hi",):
        raise KeyError(modifiers)
    return Arithmetic((kind, kind, product.result), product.result, lambda a, b, c: product.compute(a, b) + c)


def _wider(kind: Type) -> Type:
    return TYPES[f"{kind.name[0]}{16 * kind.size}"]


def _fused(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    wide = {"f32": np.float64, "f64": np.longdouble}[kind.name]

    def fma(a: Array, b: Array, c: Array) -> Array:
        return (a.astype(wide) * b + c).astype(kind.numpy)

    return _same(fma, 3, {("rn",)})(modifiers, kind)


def _divide(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    if kind.kind == "float":
        return _same(np.divide, 2, {("rn",), ("full",), ("approx",)})(modifiers, kind)
    return _same(_quotient, 2, {()})(modifiers, kind)


def _quotient(a: Array, b: Array) -> Array:
    """Rounded towards zero; all ones for a divisor of 0, as GPUs give."""
    b_or_1 = np.where(b == 0, 1, b).astype(b.dtype)
    down = np.floor_divide(a, b_or_1)
    towards_zero = down + ((down * b_or_1 != a) & ((a < 0) != (b_or_1 < 0)))
    return np.where(b == 0, ~np.zeros_like(a), towards_zero).astype(a.dtype)


def _remainder(a: Array, b: Array) -> Array:
    return np.where(b == 0, a, np.fmod(a, np.where(b == 0, 1, b))).astype(a.dtype)


def _extreme(whole: Callable[..., Array], number: Callable[..., Array]) -> Callable[..., Arithmetic]:
    """Minimum or maximum: a NaN loses, but with ``.NaN`` it wins."""

    def build(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
        loses = kind.kind == "float" and modifiers != ("NaN",)
        return _same(number if loses else whole, 2, {(), ("NaN",)})(modifiers, kind)

    return build


def _exponential(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    return _same(np.exp2, 1, {("approx",)})(modifiers, kind)


_ROOTS = {("rn",), ("approx",)}

_COMPARISONS: Mapping[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _compare(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
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


def _convert(modifiers: tuple[str, ...], result: Type, source: Type) -> Arithmetic:
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


def _select(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    return replace(
        _same(lambda a, b, p: np.where(p, a, b), 3, {()})(modifiers, kind),
        sources=(kind, kind, TYPES["pred"]),
    )


_BUILDERS: Mapping[str, Callable[..., Arithmetic]] = {
    "add": _add,
    "sub": _same(np.subtract, 2),
    "mul": _multiply,
    "mad": _multiply_add,
    "fma": _fused,
    "div": _divide,
    "rem": _same(_remainder, 2, {()}),
    "min": _extreme(np.minimum, np.fmin),
    "max": _extreme(np.maximum, np.fmax),
    "neg": _same(np.negative, 1),
    "abs": _same(np.abs, 1),
    "sqrt": _same(np.sqrt, 1, _ROOTS),
    "rcp": _same(lambda a: np.divide(a.dtype.type(1), a), 1, _ROOTS),
    "ex2": _exponential,
    "setp": _compare,
    "cvt": _convert,
    "selp": _select,
    **{
        stem: lambda modifiers, kind, take=take: Arithmetic(*take(modifiers, kind))
        for stem, take in BITS.items()
    },
}

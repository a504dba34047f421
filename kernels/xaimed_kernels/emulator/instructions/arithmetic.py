"""PTX's instructions on registers alone: what each opcode takes, gives and computes, on arrays of one value a thread.

Exact but for four things: ``approx`` and ``full`` variants are rounded correctly here (a GPU errs by an ulp or two),
``fma.f32`` is rounded twice (to float64, then to float32), ``fma.f64`` through the machine's long double, and NaNs
have NumPy's bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from xaimed_kernels.emulator.instructions.bits import BITS
from xaimed_kernels.emulator.instructions.conversions import compare, convert
from xaimed_kernels.emulator.instructions.operation import Arithmetic, same
from xaimed_kernels.emulator.program import UnknownInstructionError
from xaimed_kernels.emulator.ptx_types import TYPES, Array, Type


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


def _add(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    if kind.name == "s16x2":
        return Arithmetic((kind, kind), kind, _add_halves)
    return same(np.add, 2)(modifiers, kind)


def _add_halves(a: Array, b: Array) -> Array:
    """Two sums of 16 bits, without a carry between them."""
    return (a + b & 0xFFFF) | ((a >> 16) + (b >> 16) & 0xFFFF) << 16


def _multiply(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    if kind.kind == "float":
        return same(np.multiply, 2)(modifiers, kind)
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

    return same(fma, 3, {("rn",)})(modifiers, kind)


def _divide(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    if kind.kind == "float":
        return same(np.divide, 2, {("rn",), ("full",), ("approx",)})(modifiers, kind)
    return same(_quotient, 2, {()})(modifiers, kind)


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
        return same(number if loses else whole, 2, {(), ("NaN",)})(modifiers, kind)

    return build


_ROOTS = {("rn",), ("approx",)}


def _select(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    return replace(
        same(lambda a, b, p: np.where(p, a, b), 3, {()})(modifiers, kind),
        sources=(kind, kind, TYPES["pred"]),
    )


_BUILDERS: Mapping[str, Callable[..., Arithmetic]] = {
    "add": _add,
    "sub": same(np.subtract, 2),
    "mul": _multiply,
    "mad": _multiply_add,
    "fma": _fused,
    "div": _divide,
    "rem": same(_remainder, 2, {()}),
    "min": _extreme(np.minimum, np.fmin),
    "max": _extreme(np.maximum, np.fmax),
    "neg": same(np.negative, 1),
    "abs": same(np.abs, 1),
    "sqrt": same(np.sqrt, 1, _ROOTS),
    "rcp": same(lambda a: np.divide(a.dtype.type(1), a), 1, _ROOTS),
    "ex2": same(np.exp2, 1, {("approx",)}),
    "setp": compare,
    "cvt": convert,
    "selp": _select,
    **BITS,
}

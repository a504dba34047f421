"""PTX's instructions on bits: what each takes, gives and computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from xaimed_kernels.emulator.instructions.operation import Arithmetic, same
from xaimed_kernels.emulator.ptx_types import TYPES, UNSIGNED, Array, Type

_U32 = TYPES["u32"]


def _expect_none(modifiers: tuple[str, ...]) -> None:
    if modifiers:
        raise KeyError(modifiers)


def _shift_left(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    """By as many bits as the type has, or more: 0."""
    _expect_none(modifiers)
    width = 8 * kind.size

    def shift(a: Array, by: Array) -> Array:
        near = np.minimum(by, width - 1).astype(a.dtype)
        return np.where(by >= width, 0, a << near).astype(a.dtype)

    return Arithmetic((kind, _U32), kind, shift)


def _shift_right(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    """Of a signed type the sign moves in."""
    _expect_none(modifiers)
    width = 8 * kind.size

    def shift(a: Array, by: Array) -> Array:
        shifted = a >> np.minimum(by, width - 1).astype(a.dtype)
        gone = (by >= width) & (kind.kind != "signed")
        return np.where(gone, 0, shifted).astype(a.dtype)

    return Arithmetic((kind, _U32), kind, shift)


def _extract(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    """``bfe``: ``length`` bits from ``start`` on; signed: the highest of them is repeated."""
    _expect_none(modifiers)
    width = 8 * kind.size
    unsigned = UNSIGNED[kind.size]

    def extract(a: Array, start: Array, length: Array) -> Array:
        start, length = start & 0xFF, length & 0xFF
        end = np.minimum(start.astype(np.int64) + length, width)
        # up so that the field's highest bit is the register's, then down again
        up, kept = (width - end).astype(unsigned), np.clip(end - start, 0, width)
        sign = a >> (width - 1) if kind.kind == "signed" else np.zeros_like(a)
        down = np.minimum(width - kept, width - 1).astype(a.dtype)
        field = (a.view(unsigned) << np.minimum(up, width - 1)).view(a.dtype) >> down
        beyond = kept == 0
        return np.where(length == 0, 0, np.where(beyond, sign, field)).astype(a.dtype)

    return Arithmetic((kind, _U32, _U32), kind, extract)


def _insert(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    """``bfi a, b, start, length``: the low bits of a, put into b."""
    _expect_none(modifiers)

    def insert(a: Array, b: Array, start: Array, length: Array) -> Array:
        start = np.minimum(start & 0xFF, 8 * kind.size).astype(np.uint64)
        length = np.minimum(length & 0xFF, 8 * kind.size).astype(np.uint64)
        whole = np.where(length >= 64, ~np.uint64(0), (np.uint64(1) << (length & 63)) - np.uint64(1))
        field = np.where(start >= 64, 0, whole << (start & 63)).astype(a.dtype)
        moved = np.where(start >= 64, 0, a.astype(np.uint64) << (start & 63)).astype(a.dtype)
        return (b & ~field) | (moved & field)

    return Arithmetic((kind, kind, _U32, _U32), kind, insert)


def _permute(modifiers: tuple[str, ...], kind: Type) -> Arithmetic:
    """``prmt``: each byte is one of the eight of two registers, or the sign of one, eight times."""
    _expect_none(modifiers)

    def permute(a: Array, b: Array, selection: Array) -> Array:
        both = a.astype(np.uint64) | b.astype(np.uint64) << np.uint64(32)
        result = np.zeros(1, np.uint32)
        for i in range(4):
            selector = selection >> 4 * i & 0xF
            byte = (both >> (8 * (selector & 7)).astype(np.uint64) & np.uint64(0xFF)).astype(np.uint32)
            byte = np.where(selector & 8, np.where(byte & 0x80, 0xFF, 0), byte).astype(np.uint32)
            result = result | byte << 8 * i
        return result

    return Arithmetic((kind, kind, _U32), kind, permute)


BITS: Mapping[str, Callable[[tuple[str, ...], Type], Arithmetic]] = {
    "and": same(np.bitwise_and, 2, {()}),
    "or": same(np.bitwise_or, 2, {()}),
    "xor": same(np.bitwise_xor, 2, {()}),
    "not": same(np.bitwise_not, 1, {()}),
    "shl": _shift_left,
    "shr": _shift_right,
    "bfe": _extract,
    "bfi": _insert,
    "prmt": _permute,
}
"""By the opcode's stem: from modifiers and type."""

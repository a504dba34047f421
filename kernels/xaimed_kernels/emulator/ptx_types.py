"""PTX's types: how many bytes each has, and its values in NumPy as bits and as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""One value a thread, or a single value for all of them (shape ``[1]``)."""

UNSIGNED: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
"""By size in bytes: what registers and memory hold."""

_NUMPY: dict[str, dict[int, Any]] = {
    "bits": UNSIGNED,
    "unsigned": UNSIGNED,
    "signed": {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64},
    "float": {2: np.float16, 4: np.float32, 8: np.float64},
    "predicate": {1: np.bool_},
}
_BFLOAT16_NAN = 0x7FFF
"""What the conversion gives for every NaN (PTX ISA, cvt)."""


@final
@dataclass(frozen=True)
class Type:
    """A type of PTX: ``name`` without the dot, ``size`` in bytes."""

    name: str
    size: int
    kind: Literal["bits", "unsigned", "signed", "float", "predicate"]

    @property
    def numpy(self) -> Any:
        """The NumPy type in which its values are computed: float32 for bfloat16."""
        return np.float32 if self.name == "bf16" else _NUMPY[self.kind][self.size]

    def decode(self, bits: Array) -> Array:
        """Values from bits; of a wider register the low ones."""
        if self.kind == "predicate":
            return bits
        if bits.dtype.itemsize != self.size:
            bits = bits.astype(UNSIGNED[self.size])
        if self.name == "bf16":
            return (bits.astype(np.uint32) << 16).view(np.float32)
        return bits.view(self.numpy)

    def encode(self, values: Array) -> Array:
        """Bits from values; to bfloat16 rounded to the nearest, ties to even."""
        if self.kind == "predicate":
            return values.astype(np.bool_)
        if self.name != "bf16":
            return values.astype(self.numpy, copy=False).view(UNSIGNED[self.size])
        bits = values.astype(np.float32).view(np.uint32)
        rounded = (bits + (bits >> 16 & 1) + np.uint32(0x7FFF)) >> 16
        return np.where(np.isnan(values), _BFLOAT16_NAN, rounded).astype(np.uint16)

    def widen(self, bits: Array, size: int) -> Array:
        """Bits of this type in a register of ``size`` bytes: with its sign where it has one."""
        if bits.dtype.itemsize >= size:
            return bits
        signed = self.kind == "signed"
        return (bits.view(self.numpy) if signed else bits).astype(UNSIGNED[size])


TYPES: dict[str, Type] = {
    **{f"b{8 * size}": Type(f"b{8 * size}", size, "bits") for size in UNSIGNED},
    **{f"u{8 * size}": Type(f"u{8 * size}", size, "unsigned") for size in UNSIGNED},
    **{f"s{8 * size}": Type(f"s{8 * size}", size, "signed") for size in UNSIGNED},
    **{f"f{8 * size}": Type(f"f{8 * size}", size, "float") for size in (2, 4, 8)},
    "bf16": Type("bf16", 2, "float"),
    "s16x2": Type("s16x2", 4, "bits"),
    "pred": Type("pred", 1, "predicate"),
}
"""By name."""

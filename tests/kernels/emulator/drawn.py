"""Numbers to try instructions on: seeded, the extreme ones first."""

import math
from itertools import product

import numpy as np

THREADS = 96
SIGNED = {16: np.int16, 32: np.int32, 64: np.int64}
UNSIGNED = {16: np.uint16, 32: np.uint32, 64: np.uint64}
FLOATS = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.5, 2.5, 1e-40, 65504.0)


def integers(name: str, seed: int) -> np.ndarray:
    """Seeded integers of ``s32`` and the like, the extreme ones first."""
    kind = (SIGNED if name[0] == "s" else UNSIGNED)[int(name[1:])]
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    edges = np.array([low, high, 0, 1, high // 2, low // 3, 7, high - 1], dtype=kind)
    drawn = np.random.default_rng(seed).integers(low, high, THREADS, dtype=kind, endpoint=True)
    drawn[: len(edges) ** 2] = (np.repeat if seed % 2 else np.tile)(edges, len(edges))
    return drawn


def floats(name: str, seed: int) -> np.ndarray:
    """Seeded floats; every pair of special ones is among the first of an even and an odd seed."""
    drawn = np.random.default_rng(seed).standard_normal(THREADS * 2)
    pairs = list(product(SPECIAL, SPECIAL))[:THREADS]
    drawn[: len(pairs)] = [pair[seed % 2] for pair in pairs]
    with np.errstate(over="ignore"):
        return np.roll(drawn, seed)[:THREADS].astype(FLOATS[name])


def wrapped(values, name: str) -> np.ndarray:
    """Integers cut to the bits of a type."""
    bits = int(name[1:])
    unsigned = np.array([int(v) & (1 << bits) - 1 for v in values], UNSIGNED[bits])
    return unsigned.view(SIGNED[bits]) if name[0] == "s" else unsigned

"""Launching the kernels of ``principal_map``; nothing in between waits for the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xaimed_kernels.gradient_maps.formula import Formula
from xaimed_kernels.gradient_maps.launch import gradient_maps_triton
from xaimed_kernels.launching import ceil_div, launch, power_of_two, splits_for
from xaimed_kernels.principal_map.kernel import gram_kernel, projection_kernel, top_eigenvector_kernel
from xaimed_kernels.principal_map.reference import orient

STEPS, SQUARINGS = 16, 24
"""Lanczos steps per cycle: the smallest side that ``tl.dot`` takes. 24 squarings raise its matrix to 2^24, which
leaves one direction where eigenvalues differ by 1e-6 of the largest; closer ones float32 cannot tell apart."""

CYCLES, TOLERANCE = 16, 1e-6
"""Cycles at most, and the residual, as part of the eigenvalue, that ends them. Eigenvalues 5 % apart take 2."""

LARGEST_HELD = 64
"""Side of the largest matrix that stays in registers, with its Lanczos vectors."""

BLOCK_K = 16
"""Terms per step of a 64 x 64 Gram block: with 8 warps nothing spills, and two stages take 32 KiB of shared
memory. 32 terms with 4 warps and 3 stages spilled 300 bytes a thread and did not fit sm_86, sm_89 and sm_120."""


def principal_map_triton(activations: Tensor, weights: Tensor | None) -> Tensor:
    """Shapes as :func:`principal_map`; the sign is the evidence's."""
    a = activations.flatten(2)
    w = _expanded(a, weights)
    n, c, s = a.shape
    moments = gradient_maps_triton(a, w, MOMENTS)
    (means, extents, _), evidence = moments.weights, moments.maps[2]
    assert means is not None
    assert extents is not None
    varies = ~(_is_constant(a) & _is_constant(w) & extents.isfinite())
    scale = extents.where(varies, 0.0).amax(1).clamp(min=torch.finfo(torch.float32).tiny)
    factors = varies / scale.unsqueeze(1)  # a constant channel is 0: its mean is right to a last digit alone
    if s <= c:
        grams = _grams(a.mT, w.mT, means.unsqueeze(1).expand(n, s, c), factors.unsqueeze(1).expand(n, s, c))
        vectors, values = top_eigenvectors_triton(grams, s)
        raw = vectors * (values.sqrt() * scale).unsqueeze(1)
    else:
        grams = _grams(a, w, means.unsqueeze(2).expand(n, c, s), factors.unsqueeze(2).expand(n, c, s))
        raw = _projections(a, w, means, top_eigenvectors_triton(grams, c)[0] * varies)
    return orient(raw, evidence).unflatten(1, activations.shape[2:])


def _mean(a: Any, g: Any, total: Any, positions: int) -> Any:
    return total(a * g) / positions


def _extent(a: Any, g: Any, total: Any, positions: int) -> Any:
    return total((a * g).abs()) / positions


def _evidence(a: Any, g: Any, total: Any, positions: int) -> Any:
    return g


MOMENTS = (
    Formula("mean", _mean, per_channel=True),
    Formula("extent", _extent, per_channel=True),
    Formula("evidence", _evidence, per_channel=False),
)
"""What centring, scaling and the sign need of x = w * a, from one reading: formulas of the fused reduction."""


def _expanded(a: Tensor, weights: Tensor | None) -> Tensor:
    """Weights as ``[n, c, s]`` views: per-channel ones, and the 1 of no weights, have stride 0."""
    if weights is None:
        return torch.ones(1, 1, 1, device=a.device, dtype=a.dtype).expand_as(a)
    return weights.reshape(*weights.shape[:2], -1).expand_as(a)


def _is_constant(values: Tensor) -> Tensor:
    """Which channels of ``[n, c, s]`` hold one value at all positions, ``[n, c]``."""
    if values.stride(2) == 0:
        return torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
    low, high = values.aminmax(dim=2)
    return low == high


def _grams(a: Tensor, w: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """``sum_k x_dk x_ek`` of x = (w * a - mean) * factor, from ``[n, d, k]`` views.

    ``[n, stride, stride]``, d and zeros up to a multiple of 16, so that rows are read 4 values at a time.
    """
    n, d, k = a.shape
    block_d = min(64, max(16, power_of_two(d)))
    pairs = ceil_div(d, block_d) ** 2
    splits = splits_for(n * pairs, ceil_div(k, BLOCK_K), warps=8, device=a.device)
    stride = ceil_div(d, STEPS) * STEPS
    partial = torch.empty(splits, n, stride, stride, device=a.device)
    launch(
        gram_kernel, n * splits * pairs, a, *a.stride(), w, *w.stride(), means, factors, *means.stride(), partial,
        n, d, k, splits, stride, BLOCK_D=block_d, BLOCK_K=BLOCK_K, warps=8, stages=2,
    )  # fmt: skip
    return partial.sum(0) if splits > 1 else partial[0]


def top_eigenvectors_triton(grams: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Unit eigenvectors ``[n, side]`` of the largest eigenvalues ``[n]`` of ``grams`` (see `_grams`).

    Up to side `LARGEST_HELD` a program holds its whole matrix and the vectors found so far; above it more warps read
    rows of both (8 of 4096 values at a time: 16 spilled 1.3 KB on sm_120).
    """
    n, stride, _ = grams.shape
    block_d = max(LARGEST_HELD, power_of_two(side))
    vectors, values = torch.empty(n, block_d, device=grams.device), torch.empty(n, device=grams.device)
    held = block_d == LARGEST_HELD
    basis = vectors if held else torch.empty(n, STEPS + 1, block_d, device=grams.device)
    launch(
        top_eigenvector_kernel, n, grams, vectors, values, basis, side, stride, CYCLES, TOLERANCE,
        STEPS=STEPS, SQUARINGS=SQUARINGS, BLOCK_D=block_d,
        BLOCK_R=block_d if held else min(16, 2**15 // block_d), warps=8 if held else 16,
    )  # fmt: skip
    return vectors[:, :side], values


def _projections(a: Tensor, w: Tensor, means: Tensor, vectors: Tensor) -> Tensor:
    """``sum_c (w * a - mean) * v``, ``[n, s]``. There are more positions than channels: they fill the device."""
    n, c, s = a.shape
    block_c, block_s = (32, 16) if a.stride(1) == 1 else (8, 64)
    raw = torch.empty(n, s, device=a.device)
    launch(
        projection_kernel, n * ceil_div(s, block_s), a, *a.stride(), w, *w.stride(), means, vectors, raw, c, s,
        BLOCK_C=block_c, BLOCK_S=block_s, warps=1,
    )  # fmt: skip
    return raw

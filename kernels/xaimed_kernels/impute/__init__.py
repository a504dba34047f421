"""ROAD's imputation: removed pixels become the weighted means of their neighbours, all at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Literal, overload

import torch
from torch import Tensor

from xaimed_kernels.backends import Backend, choose_backend
from xaimed_kernels.impute.imputation import Filled, Imputation
from xaimed_kernels.impute.reference import residual
from xaimed_kernels.launching import is_capturing, is_recording

__all__ = ["FLOAT32_TOL", "SMALLEST_TOL", "Imputation", "impute"]

FLOAT32_TOL = 1e-6
"""Float32 solves to about 2e-7 of the range on images of any size; a smaller ``tol`` is refined in float64."""

SMALLEST_TOL = 1e-12
"""Nothing smaller may be asked for: it is near what float64 holds."""


@overload
def impute(
    images: Tensor,
    keep: Tensor,
    *,
    noise: float | Tensor = 0.0,
    generator: torch.Generator | None = None,
    tol: float = 1e-4,
    details: Literal[False] = False,
    backend: Backend | None = None,
) -> Tensor: ...


@overload
def impute(
    images: Tensor,
    keep: Tensor,
    *,
    noise: float | Tensor = 0.0,
    generator: torch.Generator | None = None,
    tol: float = 1e-4,
    details: Literal[True],
    backend: Backend | None = None,
) -> Imputation: ...


@torch.no_grad()
def impute(
    images: Tensor,
    keep: Tensor,
    *,
    noise: float | Tensor = 0.0,
    generator: torch.Generator | None = None,
    tol: float = 1e-4,
    details: bool = False,
    backend: Backend | None = None,
) -> Tensor | Imputation:
    """Fill the pixels of ``images [n, c, h, w]`` that ``keep`` (bool, ``[n, h, w]`` or ``[n, p, h, w]``) lacks.

    Returns ``[n, c, h, w]`` or ``[n, p, c, h, w]`` in the images' dtype (p masks share an image). Filled pixels
    solve ``sum_j w_ij (u_j - u_i) = 0`` over the 8 neighbours inside the image, 1/6 straight and 1/12 diagonal;
    kept ones are untouched (Rong et al. 2022, arXiv 2202.00449, section 4.2). Then ``noise`` times a standard
    normal number is added to removed pixels, in the images' units; a tensor ``[c]`` gives each channel its own.

    ``tol``: the largest error of a filled pixel before noise and before it is rounded to the images' dtype, as part
    of the range of the kept pixels of its channel. The solution is float32, refined by residuals in float64 for
    float64 images, for ``tol`` below `FLOAT32_TOL`, and where float32 turns out not to reach ``tol``. ``generator``:
    for the noise; None takes torch's own, as `torch.randn` does. ``details``: return an `Imputation`, which holds
    cycles, error and residual too. Where nothing is kept, removed pixels are 0 and ``unreached`` is set. No
    gradient flows through. Results do not depend on what else is in the batch.

    Raises: ValueError for shapes, devices, ``tol`` or ``noise`` that do not fit and for kept pixels that are not
    finite (removed ones may be anything), TypeError for dtypes, RuntimeError if ``tol`` is not reached,
    ModuleNotFoundError for ``backend="reference"`` without SciPy. On a GPU this takes one synchronisation, at the end;
    inside a CUDA graph nothing is read back, so check ``error`` there.
    """
    _check(images, keep, tol)
    spread = _noise_of(noise, images)
    masks = keep if keep.ndim == 4 else keep.unsqueeze(1)
    backend = choose_backend(images, backend, double=True)
    readable = not (is_recording() or is_capturing(images.device))
    filled = _fill(images.detach(), masks, tol, backend, verify=readable)
    left = _residual_of(filled.images, masks, images) if details else None
    result = filled.images
    if spread is not None:
        dtype = torch.promote_types(images.dtype, torch.float32)  # whatever tol, the same noise
        added = torch.randn(result.shape, generator=generator, device=result.device, dtype=dtype)
        result += (added * spread.to(dtype)).masked_fill_(masks.unsqueeze(2), 0.0)
    result = result.to(images.dtype)
    shape = (lambda t: t) if keep.ndim == 4 else (lambda t: t.squeeze(1))
    if left is None:
        return shape(result)
    unreached = ~masks.flatten(2).any(2)
    return Imputation(*(shape(t) for t in (result, filled.cycles, filled.error, left, unreached)))


def _fill(images: Tensor, keep: Tensor, tol: float, backend: Backend, *, verify: bool) -> Filled:
    """Fill in float32, or with residuals in float64 where ``tol`` needs them, or has turned out to need them."""
    refined = images.dtype == torch.float64 or tol < FLOAT32_TOL
    filled = _solver(backend, verify)(images.double() if refined else images.float(), keep, tol)
    if not verify or filled.settled or bool((filled.error <= tol).all()):
        return filled
    if refined or bool(filled.error.isnan().any()):
        raise _failure(filled, tol)
    return _fill(images.double(), keep, tol, backend, verify=verify)


def _solver(backend: Backend, verify: bool) -> Callable[[Tensor, Tensor, float], Filled]:
    match backend:
        case "reference":
            from xaimed_kernels.impute.reference import impute_directly as solver
        case "cpu":
            from xaimed_kernels.impute.cpu import impute_by_multigrid as solver
        case "triton":
            from xaimed_kernels.impute.launch import impute_triton

            solver = partial(impute_triton, watched=verify)
    return solver


def _residual_of(filled: Tensor, keep: Tensor, images: Tensor) -> Tensor:
    """The largest residual of each system and channel over the range of its kept pixels, 0 without a range."""
    values, kept = images.unsqueeze(1).to(filled.dtype), keep.unsqueeze(2)
    high = values.masked_fill(~kept, -math.inf).amax((-2, -1))
    low = values.masked_fill(~kept, math.inf).amin((-2, -1))
    largest = residual(filled, keep).abs_().amax((-2, -1))
    return torch.where(high > low, largest / (high - low), 0.0)


def _check(images: Tensor, keep: Tensor, tol: float) -> None:
    for name, given in (("images", images), ("keep", keep)):
        if not isinstance(given, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"{name} must be a tensor, got {type(given).__name__}; convert with torch.as_tensor"
            )
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be [n, c, h, w] with nothing empty, got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating-point, got {images.dtype}; convert them with .float()")
    if keep.dtype != torch.bool:
        raise TypeError(f"keep must be bool (True: the pixel stays), got {keep.dtype}; try keep > 0")
    n, _, h, w = images.shape
    if keep.ndim not in (3, 4) or (len(keep), *keep.shape[-2:]) != (n, h, w) or 0 in keep.shape:
        raise ValueError(
            f"keep must be [{n}, {h}, {w}] or [{n}, p, {h}, {w}] for images {tuple(images.shape)}, "
            f"got {tuple(keep.shape)}"
        )
    if keep.device != images.device:
        raise ValueError(f"images are on {images.device}, keep on {keep.device}; move one")
    number = isinstance(tol, Real) or (isinstance(tol, Tensor) and tol.ndim == 0)
    if not number or not SMALLEST_TOL <= float(tol) < 1:
        raise ValueError(
            f"tol must be at least {SMALLEST_TOL:g} (what float64 can hold) and below 1, got {tol!r}"
        )


def _noise_of(noise: float | Tensor, images: Tensor) -> Tensor | None:
    """Standard deviations ``[c or 1, 1, 1]``, None for no noise."""
    if isinstance(noise, Tensor):
        if noise.shape not in ((), (images.shape[1],)):
            raise ValueError(
                f"noise must be a number or a tensor [{images.shape[1]}] (one per channel), "
                f"got shape {tuple(noise.shape)}"
            )
        return noise.to(images.device).reshape(-1, 1, 1)
    if not isinstance(noise, Real) or not 0 <= noise < math.inf:
        raise ValueError(f"noise must be a standard deviation of at least 0, got {noise!r}")
    return torch.full((1, 1, 1), noise, device=images.device, dtype=torch.float64) if noise else None


def _failure(filled: Filled, tol: float) -> Exception:
    """What to raise for the first channel that cannot be filled, or else for the first that is not good enough."""
    hopeless = filled.error.isnan()
    wrong = hopeless if bool(hopeless.any()) else filled.error > tol
    image, mask, channel = wrong.nonzero()[0].tolist()
    error = float(filled.error[image, mask, channel])
    if math.isnan(error):
        return ValueError(
            f"image {image}, channel {channel} has kept pixels that are not finite (mask {mask}); "
            "remove these pixels, or replace them, e.g. with torch.nan_to_num"
        )
    return RuntimeError(
        f"image {image}, mask {mask}, channel {channel}: the filled pixels may be wrong by {error:.1e} of the kept "
        f"range, more than tol={tol:g}, after {int(filled.cycles[image, mask, channel])} cycles; allow a larger "
        'tol, or use backend="reference"'
    )

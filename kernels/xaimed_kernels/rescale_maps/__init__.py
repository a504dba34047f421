"""From signed layer-size maps to maps in [0, 1] at the images' size."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from xaimed_kernels.backends import Backend, choose_backend, plain_arithmetic
from xaimed_kernels.rescale_maps.reference import RescaledMaps

__all__ = ["RescaledMaps", "rescale_maps"]


def rescale_maps(
    raws: Tensor | Sequence[Tensor], size: Sequence[int], *, eps: float = 0.0, backend: Backend | None = None
) -> RescaledMaps:
    """Maps of ``size`` in [0, 1] from signed maps ``[n, h, w]`` of one or several layers.

    Each layer: ReLU, min-max, bilinear resize (half-pixel centres, no antialiasing, as cv2); then the mean
    over layers and min-max again (grad-cam's ``aggregate_multi_layers``). Min-max is
    ``(x - min) / (max - min)``, 0 for a constant map (the last one: constant up to rounding); ``eps > 0`` instead
    divides by ``eps + max - min`` (grad-cam: 1e-7). An image with NaN or infinity in a raw map gets a map of NaN;
    the others do not change by a bit. Sums run in float32 (float64 for float64 maps).

    Signals ``[n, l]`` with ``size`` (L,) are resized linearly; volumes ``[n, d, h, w]`` with ``size`` (D, H, W)
    trilinearly, by torch on every device. Nothing waits for the device. Raises ValueError for shapes, sizes, devices
    or eps that do not fit, TypeError for dtypes.
    """
    layers = (raws,) if isinstance(raws, Tensor) else tuple(raws)
    _check(layers, size, eps)
    if layers[0].ndim == 2:  # a signal is an image of one row
        rescaled = rescale_maps([raw.unsqueeze(1) for raw in layers], (1, *size), eps=eps, backend=backend)
        return RescaledMaps(rescaled.maps.squeeze(1), rescaled.empty, rescaled.finite)
    chosen = choose_backend(layers[0], backend)
    if layers[0].ndim == 4 and chosen == "triton":
        chosen = "reference"
    match chosen:
        case "reference" | "cpu":  # the definition is a few passes over small maps
            from xaimed_kernels.rescale_maps.reference import rescale_maps_reference as run
        case "triton":
            from xaimed_kernels.rescale_maps.launch import rescale_maps_triton as run
    with plain_arithmetic(layers[0].device):
        return run(layers, tuple(size), eps)


def _check(layers: tuple[Tensor, ...], size: Sequence[int], eps: float) -> None:
    if not layers:
        raise ValueError("no raw map given; pass a tensor [n, h, w] or a sequence of them")
    first = layers[0]
    if first.ndim not in (2, 3, 4):
        raise ValueError(f"raw maps must be [n, l], [n, h, w] or [n, d, h, w], got {tuple(first.shape)}")
    for raw in layers:
        if raw.ndim != first.ndim or len(raw) != len(first) or 0 in raw.shape:
            raise ValueError(
                f"every layer needs {len(first)} maps of {first.ndim - 1} dimensions with nothing empty, "
                f"got {tuple(raw.shape)}"
            )
        if raw.device != first.device or raw.dtype != first.dtype:
            raise ValueError(
                f"every layer must be {first.dtype} on {first.device}, got {raw.dtype} on {raw.device}"
            )
    if len(size) != first.ndim - 1 or min(size) < 1:
        raise ValueError(f"size must be {first.ndim - 1} positive numbers, got {tuple(size)}")
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be 0 (scale-free) or a positive number, got {eps}")

"""How far maps, or other outputs, lie from the ones they must agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xaimed_core import METHODS, Explanation
from xaimed_core.methods import Projection
from xaimed_core.semantics import MIN_MAX_EPS
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_reports.store.records import Fidelity

Judge = Callable[[Any, Any], Fidelity]
"""(xaimed's output, the expected one) -> how far apart they are."""

Array = NDArray[np.float64]

SPREAD = 0.1
"""A map in [0, 1] whose values lie closer together than this shows nothing; live maps reach 1."""
LEAST_SPREAD_SHARE = 0.9

MAPS_AGREE = 1e-4
"""With grad-cam, of maps in [0, 1]: the promise of the grad-cam semantics in float32."""
SIGNED_MAPS_AGREE = 1e-3
"""The same of principal maps: a float32 SVD against a float32 Gram matrix."""


def agree_within(methods: Iterable[str]) -> float:
    """The largest difference between maps of these methods and grad-cam's."""
    return max(SIGNED_MAPS_AGREE if _is_signed(method) else MAPS_AGREE for method in methods)


def nearer_sign(found: Explanation, method: str, expected: Any) -> torch.Tensor:
    """A method's maps on the CPU; of a principal map (grad-cam's sign is the SVD's) each image's nearer sign."""
    here = found.maps[method].cpu()
    if not _is_signed(method):
        return here
    opposite = other_sign(found, method).cpu()
    errors = [(maps - torch.as_tensor(expected)).abs().amax((1, 2)) for maps in (here, opposite)]
    return torch.where((errors[0] <= errors[1])[:, None, None], here, opposite)


def other_sign(found: Explanation, method: str) -> torch.Tensor:
    """A principal map with its sign turned: the sign of a singular vector is arbitrary."""
    raw = found.raw[method]
    layers = raw if isinstance(raw, tuple) else (raw,)
    return rescale_maps([-layer for layer in layers], found.maps[method].shape[1:], eps=MIN_MAX_EPS).maps


def _is_signed(method: str) -> bool:
    kind = METHODS[method].kind
    return isinstance(kind, Projection) and not kind.magnitude


def of_maps(ours: Any, expected: Any) -> Fidelity:
    """Compare maps ``[n, h, w]`` in [0, 1] (tensors, arrays or lists of them).

    ``largest`` and ``rms`` run over the images whose expected map has a spread; Spearman's correlation
    and the overlap of the highest 5 and 20 % of the pixels are means over the same images. With a
    non-finite value of xaimed ``largest`` is 2, which maps in [0, 1] cannot reach otherwise.
    """
    a, b = _flat(ours), _flat(expected)
    if a.shape != b.shape:
        raise ValueError(
            f"maps of shape {a.shape} (images, pixels) compared with {b.shape}; both must be the same"
        )
    alive = np.isfinite(b).all(1) & (np.ptp(np.nan_to_num(b), axis=1) > SPREAD)
    spread = float(alive.mean()) if len(alive) else 0.0
    if not alive.any():
        return Fidelity("maps in [0, 1]", largest=0.0, rms=0.0, spread=spread)
    a, b = a[alive], b[alive]
    broken = not np.isfinite(a).all()
    a = np.nan_to_num(a, nan=2.0, posinf=2.0, neginf=-2.0)
    return Fidelity(
        "maps in [0, 1]",
        largest=2.0 if broken else float(np.abs(a - b).max()),
        rms=float(np.sqrt(np.square(a - b).mean())),
        spread=spread,
        spearman=_mean(_spearman, a, b),
        top_5=_mean(lambda x, y: _overlap(x, y, 0.05), a, b),
        top_20=_mean(lambda x, y: _overlap(x, y, 0.20), a, b),
    )


def of_values(ours: Any, expected: Any, *, name: str, scale: float | None = None) -> Fidelity:
    """Compare numbers of one shape; errors are shares of ``scale``, by default the largest expected one."""
    a, b = _flat(ours), _flat(expected)
    if a.shape != b.shape:
        raise ValueError(
            f"{name} of shape {a.shape} (rows, values) compared with {b.shape}; both must be the same"
        )
    unit = scale if scale is not None else float(np.abs(b).max(initial=0.0))
    if not np.isfinite(b).all() or unit == 0:
        return Fidelity(name, largest=0.0, rms=0.0, spread=0.0)
    gap = np.nan_to_num(np.abs(a - b), nan=np.inf) / unit
    if not np.isfinite(gap).all():
        return Fidelity(f"{name}, not finite", largest=1e9, rms=1e9, spread=1.0)
    return Fidelity(name, largest=float(gap.max()), rms=float(np.sqrt(np.square(gap).mean())), spread=1.0)


def _flat(values: Any) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    found = np.asarray(values, dtype=np.float64)
    return found.reshape(len(found), -1) if found.ndim else found.reshape(1, 1)


def _mean(measure: Callable[[Array, Array], float | None], a: Array, b: Array) -> float | None:
    found = [m for m in map(measure, a, b) if m is not None]
    return float(np.mean(found)) if found else None


def _spearman(a: Array, b: Array) -> float | None:
    ranks_a, ranks_b = _ranks(a), _ranks(b)
    if np.ptp(ranks_a) == 0:
        return None
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def _ranks(values: Array) -> Array:
    """Equal values share their mean rank. Not SciPy's: to load it where memory has run out takes minutes."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _overlap(a: Array, b: Array, share: float) -> float:
    """Share of the highest pixels of ``b`` that are among the highest of ``a``; zeros are never "highest"."""
    count = max(1, min(int(share * b.size), int((b > b.min()).sum())))
    top_a, top_b = np.argpartition(-a, count - 1)[:count], np.argpartition(-b, count - 1)[:count]
    return len(np.intersect1d(top_a, top_b)) / count

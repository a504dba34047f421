"""The CPU path: the multigrid of `compiled` on as many threads as torch uses."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xaimed_kernels.impute.compiled.storage import allocate
from xaimed_kernels.impute.imputation import Filled
from xaimed_kernels.impute.levels import MOST_CYCLES, MOST_REFINING_CYCLES, RATE


def impute_by_multigrid(images: Tensor, keep: Tensor, tol: float) -> Filled:
    """Shapes as :class:`Filled`: images ``[n, c, h, w]``, keep ``[n, p, h, w]``.

    Float32 images are solved in float32; float64 ones, whose own grid is in float64, to smaller tolerances.
    """
    n, p, h, w = keep.shape
    c = images.shape[1]
    values, kept = images.contiguous().numpy(), keep.contiguous().numpy()
    filled = torch.empty(n, p, c, h, w, dtype=images.dtype)
    account = np.zeros((n, p, c, 2))
    threads = torch.get_num_threads()
    parts = min(c, math.ceil(threads / (n * p)))  # few systems: their channels are shared out, too
    bounds = [(c * k // parts, c * (k + 1) // parts) for k in range(parts)]
    tasks = iter([(i, j, slice(*bound)) for i in range(n) for j in range(p) for bound in bounds])
    out = filled.numpy()
    relaxation, build, fill = kernels(values.dtype)
    most = MOST_REFINING_CYCLES if images.dtype == torch.float64 else MOST_CYCLES

    def work() -> None:
        canvas, hierarchy, scratch, steps = allocate(h, w, values.dtype)
        for i, j, channels in tasks:  # shared: `next` on a list's iterator is atomic
            relaxation(kept[i, j], canvas.relax)
            build(kept[i, j], hierarchy)
            fill(
                values[i, channels], kept[i, j], out[i, j, channels], canvas, hierarchy, scratch, steps,
                float(tol), RATE, most, account[i, j, channels],
            )  # fmt: skip

    _run(work, min(threads, n * p * parts))
    found = torch.from_numpy(account)
    return Filled(filled, found[..., 0].int(), found[..., 1].float())


Kernels = tuple[Callable[..., None], Callable[..., None], Callable[..., None]]

_preparing = Lock()


def kernels(dtype: np.dtype[Any]) -> Kernels:
    """The compiled `relaxation`, `build` and `fill`, ready for images of ``dtype``.

    The first call in a process imports Numba, and loads machine code from disk or, said on stderr, compiles it.
    """
    with _preparing:  # threads that come together wait for one of them
        return _prepared(dtype)


@cache
def _prepared(dtype: np.dtype[Any]) -> Kernels:
    from xaimed_kernels.impute.compiled import announcing
    from xaimed_kernels.impute.compiled.cycle import fill
    from xaimed_kernels.impute.compiled.hierarchy import build, relaxation

    image, keep, account = np.zeros((1, 9, 9), dtype), np.eye(9, dtype=np.bool_), np.zeros((1, 2))
    canvas, hierarchy, scratch, steps = allocate(9, 9, dtype)
    with announcing(f"the imputation of {dtype} images"):
        relaxation(keep, canvas.relax)
        build(keep, hierarchy)
        fill(image, keep, image, canvas, hierarchy, scratch, steps, 1e-4, RATE, MOST_CYCLES, account)
    return relaxation, build, fill


def _run(work: Callable[[], None], threads: int) -> None:
    if threads == 1:
        work()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()

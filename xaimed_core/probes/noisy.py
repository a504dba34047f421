"""Smooth Grad-CAM++'s weights: GradCAM++ of derivatives averaged over noisy images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xaimed_core.chunks import in_chunks
from xaimed_core.explanation import Route
from xaimed_core.forward import observe
from xaimed_core.isolation.subject import subject_of, undisturbed
from xaimed_core.methods import Smoothing
from xaimed_core.progress import Progress
from xaimed_core.raw_maps import LayerView, RawMap, Run
from xaimed_core.rows import rows_per_forward
from xaimed_core.targets import Targets, repeat_targets
from xaimed_kernels.weighted_map import weighted_map

SEED = 0


def smoothed(view: LayerView, run: Run, targets: Targets, kind: Smoothing) -> RawMap:
    """``w_k = sum D2 relu(D1) / (2 D2 + sum(A_k) D3)``, ``Dp`` the mean of ``g_k^p`` over noisy copies of the image.

    Source: Omeiza et al. 2019 (arXiv 1908.01224) with GradCAM++'s numerator. Each copy costs a forward and a tail
    backward; several share one where that is faster and rows are proven independent (see `rows_per_forward`). The sums
    run in float64, in which no square of a gradient underflows.
    """
    n, samples = len(run.images), kind.samples
    subject = subject_of(run.model)
    with undisturbed(subject, run.images.device):
        rows = rows_per_forward(
            subject.root, run.images, run.logits, samples, None, run.output, owner=run.model
        )
    noisy = _noisy_images(run.images, samples, kind.spread)
    first = second = third = torch.zeros((), dtype=torch.float64, device=run.images.device)
    with Progress("Smooth Grad-CAM++", samples * n, "noisy images", show=run.progress) as step:
        for part, slopes in in_chunks(
            samples, max(1, rows // n), lambda p: _slopes(view, run, targets, noisy(p))
        ):
            g = slopes.double()
            first, second, third = first + g.sum(0), second + g.square().sum(0), third + (g**3).sum(0)
            step((part.stop - part.start) * n)
    rising = first > 0
    bend = (third / second).where(rising & (second > 0), 0.0)
    total = view.activations.double().flatten(2).sum(2, keepdim=True)
    weights = (first / samples).where(rising, 0.0) / (2 + total * bend)
    weights = weights.where(first.isfinite(), torch.nan).sum(2)
    route = Route("full-forward", f"{samples} noisy forwards and tail backwards; reduction")
    weights = weights.to(torch.promote_types(view.activations.dtype, torch.float32))
    return RawMap(weighted_map(view.activations, weights), weights, route)


def _noisy_images(images: Tensor, samples: int, spread: float) -> Callable[[slice], Tensor]:
    """Copies ``[k n, ...]`` of the images, all under the same draws, each with noise of a share of its own range."""
    generator = torch.Generator().manual_seed(SEED)
    draws = torch.randn((samples, *images.shape[1:]), generator=generator, dtype=torch.float32).to(images)
    values = images.flatten(1)
    deviation = (spread * (values.amax(1) - values.amin(1))).view(-1, *[1] * (images.ndim - 1))
    return lambda part: (images + deviation * draws[part].unsqueeze(1)).flatten(0, 1)


def _slopes(view: LayerView, run: Run, targets: Targets, noisy: Tensor) -> Tensor:
    """Gradients ``[k, n, c, positions]`` of the images' own scores at the layer."""
    n = len(run.images)
    own = repeat_targets(targets, len(noisy) // n)
    seen = observe(run.model, noisy, {view.name: view.layer}, own, output=run.output)
    gradients = view.layout.to_maps(seen.gradients[0][0])
    return gradients.flatten(2).unflatten(0, (-1, n))

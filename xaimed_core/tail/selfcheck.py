"""Two or three ablations by brute force, before a tail is trusted: once per model, layer, shape and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from xaimed_core.tail.ablation import ablate, replacement
from xaimed_core.tail.calls import Tape
from xaimed_core.tail.capture import Capture
from xaimed_core.tail.guards import Refusal
from xaimed_core.tail.mechanisms import ByRows, Mechanism
from xaimed_core.tail.outcomes import Ablations, AllClasses
from xaimed_core.tail.recording import record
from xaimed_core.tail.values import exact

AGREEMENT = {torch.float64: 1e-9, torch.float32: 5e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Of the largest logit: what rounding alone may leave between two ways through a deep network."""

TF32_AGREEMENT = 1e-2


@final
@dataclass(frozen=True)
class BruteForce:
    """Logits ``[m, ...]`` of ablations by whole forwards of ``m`` rows, and what the tail did meanwhile."""

    ablations: Ablations
    logits: Tensor
    tape: Tape | Refusal


def brute_force(capture: Capture, *, alone: bool) -> BruteForce:
    """Ablate the strongest channel of the first image, the next of the last: 2 rows, 3 where ``n`` is 2.

    The batch differs from the forward's, so that a second tape tells what depends on it. ``alone``: every row in
    a forward of its own, because the model looks at what it computes.
    """
    n = len(capture.images)
    device = capture.activation.device
    image = torch.tensor([0, n - 1] if n != 2 else [0, 1, 0], device=device)
    by_channel = capture.activation.movedim(capture.channel_dim, 1)
    strength = by_channel.abs().float().reshape(*by_channel.shape[:2], -1).mean(2)
    order = strength.argsort(dim=1, descending=True)
    rank = torch.arange(len(image), device=device) % capture.channels
    ablations = Ablations(image, order[image, rank], "zero")
    parts = [slice(i, i + 1) for i in range(len(image))] if alone else [slice(0, len(image))]
    replaced = replacement(capture.activation, capture.channel_dim, "zero")
    rows = ablate(capture.activation, capture.channel_dim, replaced, image, ablations.channel)
    runs = [record(capture, image[part], rows[part]) for part in parts]
    return BruteForce(ablations, torch.cat([logits for logits, _ in runs]), runs[-1][1])


def disagreement(mechanism: Mechanism, capture: Capture, truth: BruteForce, memory_bytes: int) -> float:
    """The largest difference from brute force as a multiple of what rounding may leave; rows run one by one."""
    expected = exact(truth.logits) - exact(capture.logits)[truth.ablations.image]
    change = -mechanism.drops(truth.ablations, AllClasses(), memory_bytes, alone=True)
    logits = torch.cat([exact(capture.logits), exact(truth.logits)])
    return _excess(change - expected, logits, capture)


def unablated_disagreement(mechanism: ByRows, capture: Capture) -> float:
    """The same for the first and last image as they are, run alone: they must give the forward's own logits."""
    ends = sorted({0, len(capture.images) - 1})
    worst = 0.0
    with capture.running():
        for i in ends:
            image = torch.tensor([i], device=capture.activation.device)
            found = exact(mechanism.runner.outputs(image, capture.activation[image]))
            worst = max(worst, _excess(found - exact(capture.logits)[image], exact(capture.logits), capture))
    return worst


def _excess(error: Tensor, logits: Tensor, capture: Capture) -> float:
    """The largest error as a multiple of what rounding may leave; 0 where the logits are not finite."""
    largest = float(logits.abs().max())
    if not largest < float("inf"):
        return 0.0
    allowed = max(_agreement(capture) * largest, torch.finfo(torch.float32).tiny)
    return float(error.abs().nan_to_num(nan=float("inf")).max()) / allowed


def _agreement(capture: Capture) -> float:
    dtype = capture.autocast.dtype if capture.autocast.enabled else capture.activation.dtype
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    if dtype == torch.float32 and capture.activation.is_cuda and tf32:
        return TF32_AGREEMENT
    return AGREEMENT.get(dtype, TF32_AGREEMENT)

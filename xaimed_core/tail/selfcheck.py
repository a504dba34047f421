"""Two or three ablations by brute force, before a tail is trusted: once per model, layer, shape and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from xaimed_core.tail.carry.values import exact
from xaimed_core.tail.record.calls import Tape
from xaimed_core.tail.record.guards import Unsupported
from xaimed_core.tail.rerun.capture import Capture, record
from xaimed_core.tail.rerun.modules import ModuleRerun
from xaimed_core.tail.run.ablation import ablate, replacement
from xaimed_core.tail.run.mechanisms import ByRows, Mechanism
from xaimed_core.tail.run.outcomes import Ablations, AllClasses

AGREEMENT = {torch.float64: 1e-9, torch.float32: 5e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Of the largest logit: what rounding alone may leave between two ways through a deep network."""

TF32_AGREEMENT = 1e-2


@final
@dataclass(frozen=True)
class BruteForce:
    """Logits ``[m, ...]`` of ablations by whole forwards of ``rows`` rows, and what the tail did meanwhile.

    apart: how far an image that was not ablated came out from what it was in its own batch, as a multiple of what
    rounding may leave. sure: whether there was an image with finite values to check anything on.
    """

    ablations: Ablations
    logits: Tensor
    tape: Tape | Unsupported
    rows: int
    apart: float
    sure: bool


def brute_force(capture: Capture, *, alone: bool) -> BruteForce:
    """Ablate the strongest channel of the first image, the next of the last, and let the last run as it is besides.

    Images stand at other places of another batch than in the forward, so that what depends on either shows: in the
    second tape, or in the logits. ``alone``: every row in a forward of its own, because the model looks at what it
    computes. The model may raise for such a batch.
    """
    finite = _finite(capture)
    ends = finite if len(finite) else list(range(len(capture.images)))
    first, last = ends[0], ends[-1]
    chosen = [last, first] if last != first else [first, first]
    as_they_are = [] if len(capture.images) == 1 else [last, first] if len(capture.images) == 3 else [last]
    device = capture.activation.device
    image = torch.tensor([*chosen, *as_they_are], device=device)
    order = _strongest_first(capture)
    rank = torch.arange(len(chosen), device=device) % capture.channels
    ablations = Ablations(image[: len(chosen)], order[image[: len(chosen)], rank], "zero")
    replaced = replacement(capture.activation, capture.channel_dim, "zero")
    rows = ablate(capture.activation, capture.channel_dim, replaced, ablations.image, ablations.channel)
    rows = torch.cat([rows, capture.activation[image[len(chosen) :]]])
    parts = [slice(i, i + 1) for i in range(len(image))] if alone else [slice(0, len(image))]
    runs = [record(capture, image[part], rows[part]) for part in parts]
    logits = torch.cat([logits for logits, _ in runs])
    unablated = exact(logits[len(chosen) :]) - exact(capture.logits)[image[len(chosen) :]]
    apart = _excess(unablated, exact(capture.logits)[ends], capture) if as_they_are else 0.0
    return BruteForce(ablations, logits[: len(chosen)], runs[-1][1], len(image), apart, len(finite) > 0)


def _strongest_first(capture: Capture) -> Tensor:
    """Each image's channels ``[n, c]``: by what a ReLU would let through, for one that it closes shows nothing."""
    by_channel = capture.activation.movedim(capture.channel_dim, 1).float().nan_to_num()
    values = by_channel.reshape(*by_channel.shape[:2], -1)
    return (values.relu() + 1e-3 * values.abs()).mean(2).argsort(dim=1, descending=True)


def _finite(capture: Capture) -> list[int]:
    """The images whose activations and logits are finite."""
    held = (capture.activation, capture.logits)
    rows = [x.isfinite().reshape(len(x), -1).all(1) for x in held]  # logits may be one number per image
    return torch.stack(rows).all(0).nonzero().flatten().tolist()


def disagreement(mechanism: Mechanism, capture: Capture, truth: BruteForce, memory_bytes: int) -> float:
    """The largest difference from brute force as a multiple of what rounding may leave; rows run one by one."""
    expected = exact(truth.logits) - exact(capture.logits)[truth.ablations.image]
    change = -mechanism.drops(truth.ablations, AllClasses(), memory_bytes, alone=True)
    logits = torch.cat([exact(capture.logits)[_finite(capture)], exact(truth.logits)])
    return _excess(change - expected, logits, capture)


def unablated_disagreement(mechanism: ByRows, capture: Capture) -> float:
    """The same for every image as it is, run alone: it must give the forward's own logits."""
    finite = _finite(capture)
    worst = 0.0
    with capture.running():
        for i in finite:
            image = torch.tensor([i], device=capture.activation.device)
            found = exact(mechanism.rerun.outputs(image, capture.activation[image]))
            change = found - exact(capture.logits)[image]
            worst = max(worst, _excess(change, exact(capture.logits)[finite], capture))
    return worst


def unrepeatable(capture: Capture) -> float:
    """How far the logits of the same images move when the model runs again; a multiple of what rounding may leave."""
    finite, every = _finite(capture), torch.arange(len(capture.images), device=capture.activation.device)
    with capture.running():
        again = exact(ModuleRerun(capture, None, 0).outputs(every, capture.activation))
    logits = exact(capture.logits)[finite]
    return _excess(again[finite] - logits, logits, capture) if finite else 0.0


def mixing(capture: Capture) -> float:
    """How far ablating other images of the batch moves an image's logits; a multiple of what rounding may leave.

    Every run holds the caller's batch in its own order. In the b-th those images are ablated whose number has bit b, so
    that of any two images one is ablated without the other at least once.
    """
    finite = _finite(capture)
    if len(finite) < 2:
        return 0.0
    n, device = len(capture.images), capture.activation.device
    every = torch.arange(n, device=device)
    replaced = replacement(capture.activation, capture.channel_dim, "zero")
    one = ablate(capture.activation, capture.channel_dim, replaced, every, _strongest_first(capture)[:, 0])
    whole, logits, worst = ModuleRerun(capture, None, 0), exact(capture.logits), 0.0
    with capture.running():
        for ablated in (
            one,
            torch.zeros_like(capture.activation),
        ):  # of one channel alone the score may hold nothing
            together = exact(whole.outputs(every, ablated))
            for bit in range((n - 1).bit_length()):
                some = (every >> bit & 1).bool()
                rows = torch.where(some.view(-1, *[1] * (ablated.ndim - 1)), ablated, capture.activation)
                expected = torch.where(some.view(-1, *[1] * (together.ndim - 1)), together, logits)
                found = exact(whole.outputs(every, rows))
                moved = (found - expected).masked_fill(found.isnan() & expected.isnan(), 0.0)
                worst = max(worst, _excess(moved[finite], logits[finite], capture))
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

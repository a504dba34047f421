"""ReciproCAM's map: the score that each position of a layer gives alone."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from xaimed_core.chunks import in_chunks
from xaimed_core.dependence import rounding_of, warn_if_mixed
from xaimed_core.explanation import Route
from xaimed_core.isolation.subject import Subject, subject_of, undisturbed
from xaimed_core.outputs import call, rows_of
from xaimed_core.progress import Progress
from xaimed_core.raw_maps import LayerView, RawMap, Run
from xaimed_core.rows import DependentRowsError
from xaimed_core.targets import Targets

BYTES = 2**27
"""Of masked activations in one forward: what lies before the layer then costs little beside what follows it."""

Scores = Callable[[slice], Tensor]


@torch.no_grad()
def shown_alone(view: LayerView, run: Run, targets: Targets) -> RawMap:
    """``y_p - min_q y_q``, where ``y_p`` is the score with every position of the layer but p set to 0.

    Source: Byun and Lee 2022 (arXiv 2209.14074). A forward runs what lies before the layer once, and what
    follows it for as many positions as `BYTES` hold. The images themselves run along in another order: where their
    outputs change by that, or a residual path past the layer brings other rows, each forward holds the caller's images
    in their order, with one position of each.
    """
    n, places = len(view.activations), prod(view.activations.shape[2:])
    together = max(1, BYTES // (view.activations.element_size() * view.activations.numel()))
    subject = subject_of(run.model, [view.layer])
    with undisturbed(subject, run.images.device):
        warn_if_mixed(subject.root, run.images, run.logits, run.output, run.model)
        try:
            scores = _of_all(run, places, together, _several(subject, view, run, targets))
            route = Route(
                "module rerun", f"the tail for {places} positions, {min(together, places)} at a time"
            )
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
            scores = _of_all(run, places, 1, _one(subject, view, run, targets))
            route = Route(
                "full-forward",
                f"{places} forwards, a position each",
                "rows of several positions cannot share a forward behind this layer",
            )
    raw = (scores - scores.amin(0)).T.float()
    return RawMap(raw.reshape(n, *view.activations.shape[2:]), None, route)


def _of_all(run: Run, places: int, together: int, scores: Scores) -> Tensor:
    """Scores ``[positions, n]``."""
    found: list[Tensor] = []
    with Progress("ReciproCAM", places, "positions", show=run.progress) as step:
        for part, some in in_chunks(places, together, scores):
            found.append(some)
            step(part.stop - part.start)
    return torch.cat(found)


def _several(subject: Subject, view: LayerView, run: Run, targets: Targets) -> Scores:
    """Scores of several positions from one forward. Raises DependentRowsError where rows may not stand together."""
    n, logits = len(run.images), run.logits
    assert logits is not None
    order = (torch.arange(n + 1, device=logits.device) + 1) % n

    def scores(part: slice) -> Tensor:
        count = part.stop - part.start
        rows = _returned(
            subject,
            view,
            run,
            lambda y: torch.cat([y[order.to(y.device)], _masked(y, view, part)]),
            (count + 1) * n + 1,
        )
        expected, found = logits[order], rows[: n + 1]
        near = torch.isclose(found, expected, rtol=0, atol=rounding_of(expected), equal_nan=True)
        if not bool(near.all()):
            raise DependentRowsError("outputs depend on the batch")
        return targets.score(rows[n + 1 :], torch.arange(n, device=rows.device).repeat(count)).view(count, n)

    return scores


def _one(subject: Subject, view: LayerView, run: Run, targets: Targets) -> Scores:
    """Scores of one position of every image, in the caller's order."""

    def scores(part: slice) -> Tensor:
        rows = _returned(subject, view, run, lambda y: _masked(y, view, part), len(run.images))
        return targets.score(rows).unsqueeze(0)

    return scores


def _masked(output: Tensor, view: LayerView, part: slice) -> Tensor:
    """The layer's output ``[n, ...]`` with one position left, for each of ``part``: ``[k n, ...]``."""
    maps = view.layout.to_maps(output)
    count, grid = part.stop - part.start, maps.shape[2:]
    places = torch.arange(part.start, part.stop, device=maps.device).unsqueeze(1)
    left = (places == torch.arange(prod(grid), device=maps.device)).view(count, 1, 1, *grid)
    rows = maps.unsqueeze(0).where(left, 0.0).flatten(0, 1)
    return view.layout.from_maps(rows, output.repeat(count, *[1] * (output.ndim - 1)))


def _returned(
    subject: Subject, view: LayerView, run: Run, at_layer: Callable[[Tensor], Tensor], rows: int
) -> Tensor:
    """The scores' rows that the model returns when its layer gives ``at_layer(output)``."""

    def give(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return at_layer(output)

    with subject.on_output(view.layer, give):
        return rows_of(call(subject.root, run.images), rows, run.output)[0]

"""What the maps of a batch are worth: faithfulness from shared forwards, localisation where a lesion is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xaimed_bench.measure.fidelity import of_maps
from xaimed_bench.study.evaluate.maps import Explained
from xaimed_bench.study.evaluate.settings import Settings
from xaimed_bench.study.evaluate.thresholds import Thresholds
from xaimed_core.explanation import Asked
from xaimed_core.faithfulness import METRICS, Metric, Removal, Remove, remove
from xaimed_core.faithfulness.evaluation import measured, perturbations, summarise, with_removal
from xaimed_core.faithfulness.scoring import scoring
from xaimed_core.faithfulness.unperturbed import Unperturbed, unperturbed
from xaimed_core.localisation import LOCALISATION, evaluate_localisation
from xaimed_core.outputs import outputs_of
from xaimed_reports.study.words import AGREEMENT

FAITHFULNESS = tuple(METRICS)
ALL = (*FAITHFULNESS, *LOCALISATION, AGREEMENT)
_ROAD = ("road", "road-morf", "road-lerf")
_SEEN = ("drop", "increase")


def with_parts(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics, with both halves of ROAD where it is asked for: its curve holds them."""
    return tuple(dict.fromkeys(part for name in metrics for part in (_ROAD if name == "road" else (name,))))


def forwards_per_map(asked: Settings) -> int:
    """How many perturbed images one map of one image needs."""
    return sum(perturbations(_between(run.metric)) for run in _runs(asked))


def forwards_shared(asked: Settings) -> int:
    """How many perturbed images of one image serve all its maps: everything removed, by each operator."""
    return len({_removal(run.metric) for run in _runs(asked) if _between(run.metric) != run.metric})


class _Run(NamedTuple):
    """A metric to run, and those that are read off its curve, itself perhaps among them."""

    metric: Metric
    read: tuple[Metric, ...]


def _runs(asked: Settings) -> list[_Run]:
    """ROAD's halves share a curve, and so do drop and increase."""
    curve = [k / asked.steps for k in range(asked.steps + 1)]
    fractions = {**dict.fromkeys(_ROAD, asked.removed), "deletion": curve, "insertion": curve}
    known = {
        name: metric if name in _SEEN else with_removal(metric, _removal(metric), fractions[name])
        for name, metric in METRICS.items()
    }
    shared = (_ROAD, ("deletion",), ("insertion",), _SEEN)
    return [
        _Run(known[names[0]], tuple(known[name] for name in names if name in asked.metrics))
        for names in shared
        if {*names} & {*asked.metrics}
    ]


def _removal(metric: Metric) -> Removal:
    assert isinstance(metric.perturbation, Remove)
    return metric.perturbation.removal


def _between(metric: Metric) -> Metric:
    """Without nothing and everything removed, which are the same images for every map."""
    how = metric.perturbation
    if isinstance(how, Remove) and (how.removed[0], how.removed[-1]) == (0, 1):
        return with_removal(metric, how.removal, how.removed[1:-1])
    return metric


def score_batch(
    model: nn.Module, images: Tensor, explained: Explained, asked: Settings, *, seed: int
) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Values ``[n]`` by layer and method, then metric, of the softmax of each image's top class.

    One forward of the images as they are serves all; a curve serves all metrics that it holds.
    """
    runs = _runs(asked)
    count = len(explained.made) * forwards_per_map(asked)
    targets = Asked({}, explained.first.maps.targets, None)  # pyright: ignore[reportArgumentType]
    found: dict[tuple[str, str], dict[str, Tensor]] = {(m.layer, m.method): {} for m in explained.made}
    if runs:
        with scoring(model) as running, torch.no_grad():
            base = unperturbed(
                running, images, targets, None, count, classes=None, score="softmax", before=explained.logits
            )
            gone = {
                _removal(run.metric): _gone(base, run.metric)
                for run in runs
                if _between(run.metric) != run.metric
            }
            for made in explained.made:
                if not bool(made.maps.isfinite().flatten(1).all(1).any()):
                    continue
                for run in runs:
                    found[made.layer, made.method].update(_values(run, base, made.maps, gone, seed))
    if AGREEMENT in asked.metrics:
        _agree(explained, found)
    return found


def _gone(base: Unperturbed, metric: Metric) -> Tensor:
    """Scores ``[n]`` with everything removed."""
    nothing = torch.zeros_like(base.images[:, 0], dtype=torch.bool)
    images = remove(base.images, nothing, _removal(metric), [0] * len(nothing))
    return base.scores_of(outputs_of(base.model, images, base.output))


def _values(
    run: _Run, base: Unperturbed, maps: Tensor, gone: Mapping[Removal, Tensor], seed: int
) -> dict[str, Tensor]:
    """All that is read off one curve; NaN for images without one."""
    metric = _between(run.metric)
    curve = measured(metric, base, maps, "rank", seed, lambda _: None).curve
    if metric != run.metric:
        ends = (base.scores, gone[_removal(metric)])
        first, last = (end[:, None, None].expand(-1, curve.shape[1], 1) for end in ends)
        curve = torch.cat([first, curve, last], 2)
    lost = ~curve.isfinite().flatten(1).all(1)
    return {
        read.name: summarise(read, base.scores, _orders(run.metric, read, curve)).masked_fill(lost, torch.nan)
        for read in run.read
    }


def _orders(run: Metric, read: Metric, curve: Tensor) -> Tensor:
    """Of a curve ``[n, o, f]`` the orders that a metric reads."""
    held, wanted = run.perturbation, read.perturbation
    if not (isinstance(held, Remove) and isinstance(wanted, Remove)):
        return curve
    return curve[:, [held.orders.index(order) for order in wanted.orders]]


def _agree(explained: Explained, found: Mapping[tuple[str, str], dict[str, Tensor]]) -> None:
    exact = {made.layer: made.maps for made in explained.made if made.method == "ablationcam"}
    for made in explained.made:
        if made.layer in exact:
            pairs = zip(made.maps, exact[made.layer], strict=True)
            alike = [of_maps(a[None, ::4, ::4], b[None, ::4, ::4]).spearman for a, b in pairs]
            found[made.layer, made.method][AGREEMENT] = torch.tensor(
                [torch.nan if value is None else value for value in alike]
            )


def locate_batch(
    explained: Explained, lesion: Tensor, has_lesion: Tensor, asked: Settings, thresholds: Thresholds
) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Localisation of the images that have a lesion, NaN elsewhere; as `score_batch`. Empty where none has."""
    names = [name for name in LOCALISATION if name in asked.metrics]
    rows = has_lesion.nonzero().squeeze(1).to(lesion.device)
    found: dict[tuple[str, str], dict[str, Tensor]] = {}
    if not names or not len(rows):
        return found
    for made in explained.made:
        cut = thresholds[made.layer, made.method]
        known = evaluate_localisation(
            made.maps[rows], lesion[rows], metrics=names, tolerance=asked.tolerance, threshold=cut
        )
        full = torch.full((len(names), len(lesion)), torch.nan, device=made.maps.device)
        full[:, rows] = torch.stack([known[name] for name in names])
        found[made.layer, made.method] = dict(zip(names, full, strict=True))
    return found

"""What the maps of a batch are worth: faithfulness from shared forwards, localisation where a lesion is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from xaimed_bench.measure.fidelity import of_maps
from xaimed_bench.study.evaluate.maps import Explained
from xaimed_core.faithfulness import METRICS, Impute, Metric
from xaimed_core.faithfulness.evaluation import measured, perturbations, with_removal
from xaimed_core.faithfulness.scoring import scoring
from xaimed_core.faithfulness.unperturbed import Unperturbed, unperturbed
from xaimed_core.localisation import LOCALISATION, evaluate_localisation
from xaimed_core.maps import Asked

FAITHFULNESS = tuple(METRICS)
AGREEMENT = "like ablationcam"
"""Spearman's correlation of a map with AblationCAM's at the same layer: 1 where they order pixels alike."""
ALL = (*FAITHFULNESS, *LOCALISATION, AGREEMENT)
_ROAD = ("road", "road-morf", "road-lerf")
_SEEN = ("drop", "increase")


def with_parts(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics, with both halves of ROAD where it is asked for: its curve holds them."""
    return tuple(dict.fromkeys(part for name in metrics for part in (_ROAD if name == "road" else (name,))))


def forwards_per_map(metrics: Sequence[str], removed: Sequence[float]) -> int:
    """How many perturbed images one map of one image needs."""
    return sum(perturbations(metric) for metric, _ in _runs(metrics, removed))


def _runs(metrics: Sequence[str], removed: Sequence[float]) -> list[tuple[Metric, tuple[str, ...]]]:
    """Each metric to run, and the names whose values come from its curve."""
    found: list[tuple[Metric, tuple[str, ...]]] = []
    if any(name in metrics for name in _ROAD):
        found.append(
            (with_removal(METRICS["road"], Impute(), removed), tuple(n for n in _ROAD if n in metrics))
        )
    found += [(METRICS[name], (name,)) for name in ("deletion", "insertion") if name in metrics]
    if any(name in metrics for name in _SEEN):
        found.append((METRICS["drop"], tuple(n for n in _SEEN if n in metrics)))
    return found


def score_batch(
    model: nn.Module,
    images: Tensor,
    explained: Explained,
    metrics: Sequence[str],
    removed: Sequence[float],
    *,
    seed: int,
) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Values ``[n]`` by layer and method, then metric, of the softmax of each image's top class.

    One forward of the images as they are serves all; a curve serves all metrics that it holds.
    """
    runs = _runs(metrics, removed)
    count = len(explained.made) * sum(perturbations(metric) for metric, _ in runs)
    asked = Asked({}, explained.first.maps.targets, None)  # pyright: ignore[reportArgumentType]
    found: dict[tuple[str, str], dict[str, Tensor]] = {(m.layer, m.method): {} for m in explained.made}
    if runs:
        with scoring(model) as running, torch.no_grad():
            base = unperturbed(
                running, images, asked, None, count, classes=None, score="softmax", before=explained.logits
            )
            for made in explained.made:
                for metric, names in runs:
                    values = _values(metric, names, base, made.maps, seed)
                    found[made.layer, made.method].update(values)
    if AGREEMENT in metrics:
        _agree(explained, found)
    return found


def _values(
    metric: Metric, names: Sequence[str], base: Unperturbed, maps: Tensor, seed: int
) -> dict[str, Tensor]:
    """The named metrics from one curve."""
    f = measured(metric, base, maps, "rank", seed, lambda _: None)
    change = f.curve - f.before[:, None, None]
    read: Mapping[str, Tensor] = {metric.name: f.score}
    if metric.name == "road":
        lerf, morf = change.mean(2).unbind(1)
        read = {"road": f.score, "road-lerf": lerf, "road-morf": morf}
    elif metric.name == "drop":
        read = {
            "drop": f.score,
            "increase": (change[:, 0, 0] > 0).float().masked_fill(f.score.isnan(), torch.nan),
        }
    return {name: read[name] for name in names}


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
    explained: Explained,
    lesion: Tensor,
    has_lesion: Tensor,
    metrics: Sequence[str],
    *,
    tolerance: float,
    threshold: float,
) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Localisation of the images that have a lesion, NaN elsewhere; as `score_batch`. Empty where none has."""
    names = [name for name in LOCALISATION if name in metrics]
    rows = has_lesion.nonzero().squeeze(1).to(lesion.device)
    found: dict[tuple[str, str], dict[str, Tensor]] = {}
    if not names or not len(rows):
        return found
    for made in explained.made:
        known = evaluate_localisation(
            made.maps[rows], lesion[rows], metrics=names, tolerance=tolerance, threshold=threshold
        )
        full = torch.full((len(names), len(lesion)), torch.nan, device=made.maps.device)
        full[:, rows] = torch.stack([known[name] for name in names])
        found[made.layer, made.method] = dict(zip(names, full, strict=True))
    return found

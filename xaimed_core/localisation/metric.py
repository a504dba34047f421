"""What a localisation metric is: a value that `evaluate_localisation` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor

from xaimed_core.localisation.pointing import mass_inside, peak_inside
from xaimed_core.localisation.ranks import average_precision, rank_accuracy, roc_auc
from xaimed_core.localisation.regions import Regions
from xaimed_core.localisation.thresholds import iou_at, iou_at_otsu


@final
@dataclass(frozen=True)
class Options:
    """``tolerance`` in pixels, see `peak_inside`; ``threshold`` a part of a map's range, see `iou_at`."""

    tolerance: float
    threshold: float


@final
@dataclass(frozen=True)
class LocalisationMetric:
    """A localisation metric: how it is found, one number per image in [0, 1], and what it means.

    ``reading`` says in words what a value means; ``knows_nothing`` what a constant map has.
    """

    name: str
    title: str
    paper: str
    measure: Callable[[Regions, Options], Tensor]
    reading: str
    knows_nothing: str
    higher_is_better: bool = True

    def __str__(self) -> str:
        return self.name


_SAPORTA = "Saporta et al. 2022, doi 10.1038/s42256-022-00536-x"

LOCALISATION: dict[str, LocalisationMetric] = {
    metric.name: metric
    for metric in (
        LocalisationMetric(
            name="pointing",
            title="Pointing game (hit rate)",
            paper=f"Zhang et al. 2018, arXiv 1608.00507; {_SAPORTA}",
            measure=lambda regions, options: peak_inside(regions, options.tolerance),
            reading="1: the map's maximum is in the lesion, or within the tolerance of it; 0: it is not",
            knows_nothing="the part of the image in the lesion or within the tolerance of it",
        ),
        LocalisationMetric(
            name="mass",
            title="Mass inside (energy-based pointing game, relevance mass accuracy)",
            paper="Wang et al. 2020, arXiv 1910.01279; Arras et al. 2022, arXiv 2003.07258",
            measure=lambda regions, _: mass_inside(regions),
            reading="the part of the map's positive values that lies in the lesion",
            knows_nothing="the lesion's part of the image",
        ),
        LocalisationMetric(
            name="rank",
            title="Relevance rank accuracy",
            paper="Arras et al. 2022, arXiv 2003.07258",
            measure=lambda regions, _: rank_accuracy(regions),
            reading="of as many highest pixels as the lesion has, the part that lies in it",
            knows_nothing="the lesion's part of the image",
        ),
        LocalisationMetric(
            name="iou-otsu",
            title="IoU at Otsu's threshold",
            paper=f"{_SAPORTA}; Otsu 1979",
            measure=lambda regions, _: iou_at_otsu(regions),
            reading="overlap of the lesion and what Otsu's threshold marks: shared pixels over the pixels of both",
            knows_nothing="0, since nothing is marked",
        ),
        LocalisationMetric(
            name="iou",
            title="IoU at a fixed threshold",
            paper=_SAPORTA,
            measure=lambda regions, options: iou_at(regions, (options.threshold,)).squeeze(1),
            reading="overlap of the lesion and what is above the threshold: shared pixels over the pixels of both",
            knows_nothing="0, since nothing is marked",
        ),
        LocalisationMetric(
            name="auprc",
            title="Pixel AUPRC (average precision)",
            paper="Arun et al. 2021, doi 10.1148/ryai.2021200267",
            measure=lambda regions, _: average_precision(regions),
            reading="the lesion's part of the pixels above a threshold, averaged over the lesion's pixels",
            knows_nothing="the lesion's part of the image",
        ),
        LocalisationMetric(
            name="auc",
            title="Pixel ROC AUC",
            paper="Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747",
            measure=lambda regions, _: roc_auc(regions),
            reading="how often a pixel of the lesion is above one outside of it; 0.5 is chance",
            knows_nothing="0.5",
        ),
    )
}
"""Every localisation metric by name. To add one: name how it is found and what it means here."""


def localisation_metric(name: str | LocalisationMetric) -> LocalisationMetric:
    """The metric of that name. Raises ValueError that lists the names."""
    if isinstance(name, LocalisationMetric):
        return name
    if not isinstance(name, str) or name not in LOCALISATION:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"no localisation metric {name!r}; they are {', '.join(LOCALISATION)}")
    return LOCALISATION[name]

"""Maps side by side: ROAD of several methods and of baselines that know nothing, from one baseline forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from xaimed_core.faithfulness.baselines import BLUR_BIAS, blurred, centre_gaussian, random_maps
from xaimed_core.faithfulness.evaluation import Faithfulness, evaluate, with_removal
from xaimed_core.faithfulness.masks import Ties
from xaimed_core.faithfulness.metric import METRICS, TUTORIAL, ScoreLike
from xaimed_core.faithfulness.removal import Impute
from xaimed_core.faithfulness.scoring import outputs_of, scoring
from xaimed_core.targets import TargetsLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGNS = (
    "combined = (lerf - morf) / 2, positive is good; morf: most relevant first, negative: the removed pixels mattered; "
    "lerf: least relevant first, near 0 or positive is good."
)


@final
@dataclass(frozen=True)
class RoadTable:
    """ROAD of several maps for the same images. ``rows``: by name, methods first, then baselines.

    Each row is a combined ROAD, whose ``curve`` holds both orders. ``baselines``: the names of those that know nothing.
    """

    rows: Mapping[str, Faithfulness]
    baselines: tuple[str, ...]
    asked: tuple[float, ...]

    def to_markdown(self) -> str:
        """The table with means and standard errors over images, what its signs mean and what ROAD is biased to."""
        lines = [
            "| maps | combined | morf | lerf | really removed |",
            "|---|---|---|---|---|",
        ]
        for name, row in sorted(self.rows.items(), key=lambda item: -float(item[1].score.mean())):
            lerf, morf = (row.curve - row.before[:, None, None]).mean(2).unbind(1)
            shown = name + (" (baseline)" if name in self.baselines else "")
            removed = ", ".join(f"{part:.2f}" for part in row.removed.mean((0, 1)).tolist())
            lines.append(f"| {shown} | {_mean(row.score)} | {_mean(morf)} | {_mean(lerf)} | {removed} |")
        return "\n".join([*lines, "", SIGNS, "", BLUR_BIAS, ""])

    def figure(self) -> Figure:
        """The mean curves: the score against the fraction removed, one panel for each order."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.5), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        titles = ("least relevant first: should stay up", "most relevant first: should fall")
        colours: dict[str, int] = {}
        for k, (panel, title) in enumerate(zip(panels, titles, strict=True)):
            for name, row in self.rows.items():
                fractions = [0.0, *row.removed[:, k].mean(0).tolist()]
                scores = [float(row.before.mean()), *row.curve[:, k].mean(0).tolist()]
                style = "--" if name in self.baselines else "-"
                of_map = name.removesuffix(", blurred")  # a blurred copy has its map's colour, dashed
                colour = f"C{colours.setdefault(of_map, len(colours)) % 10}"
                panel.plot(fractions, scores, style, color=colour, marker="o", markersize=3, label=name)
            panel.set_title(title)
            panel.set_xlabel("fraction of pixels removed")
        panels[0].set_ylabel("mean score")
        panels[1].legend(fontsize=8)
        return figure


def road_table(
    model: nn.Module,
    images: Tensor,
    maps: Mapping[str, Tensor],
    *,
    targets: TargetsLike = None,
    removed: Sequence[float] = TUTORIAL,
    ties: Ties = "rank",
    noise: float = 0.01,
    seed: int = 0,
    score: ScoreLike = "softmax",
    batch: int | None = None,
) -> RoadTable:
    """ROAD of every entry of ``maps`` (``[n, h, w]`` each) and of baselines, for the same images and targets.

    The baselines are random values, a centre-Gaussian and blurred copies of the given maps. Arguments and errors as
    `road`; all entries share one forward of the unperturbed images, the noise and the order of ties.
    """
    if not maps:
        raise ValueError("no maps were given; pass e.g. explain(...).maps")
    size = (images.shape[2], images.shape[3])
    known_nothing = {
        "random": random_maps(len(images), size, seed=seed).to(images.device),
        "centre-Gaussian": centre_gaussian(len(images), size).to(images.device),
        **{f"{name}, blurred": blurred(map_) for name, map_ in maps.items()},
    }
    taken = sorted(maps.keys() & known_nothing.keys())
    if taken:
        raise ValueError(f"{', '.join(taken)} is the name of a baseline; give your maps another")
    metric = with_removal(METRICS["road"], Impute(noise), removed)
    with scoring(model, images.device):
        before = outputs_of(model, images)
    rows = {
        name: evaluate(
            metric,
            model,
            images,
            map_,
            targets=targets,
            ties=ties,
            seed=seed,
            score=score,
            batch=batch,
            before=before,
        )
        for name, map_ in {**maps, **known_nothing}.items()
    }
    return RoadTable(rows, tuple(known_nothing), tuple(removed))


def _mean(values: Tensor) -> str:
    if len(values) == 1:
        return f"{float(values[0]):+.3f}"
    error = float(values.std() / torch.tensor(len(values)).sqrt())
    return f"{float(values.mean()):+.3f} ± {error:.3f}"

"""Maps side by side: ROAD of several methods and of baselines that know nothing, from one baseline forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from xaimed_core.classes import class_names_of
from xaimed_core.display import new_figure
from xaimed_core.explanation import Explained, asked_of
from xaimed_core.faithfulness.baselines import BLUR_BIAS, blurred, centre_gaussian, random_maps
from xaimed_core.faithfulness.door import check_options, fitting_images, fitting_maps
from xaimed_core.faithfulness.evaluation import Faithfulness, measured, perturbations, with_removal
from xaimed_core.faithfulness.masks import Ties
from xaimed_core.faithfulness.metric import METRICS, TUTORIAL, ScoreLike
from xaimed_core.faithfulness.removal import Impute
from xaimed_core.faithfulness.scoring import scoring, warn_of_probabilities
from xaimed_core.faithfulness.unperturbed import unperturbed
from xaimed_core.forward import unwrap
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.outputs import OutputChoice
from xaimed_core.progress import Progress
from xaimed_core.targets import Targets, TargetsLike

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
    ``scored_for``: whose scores these are, in words.
    """

    rows: Mapping[str, Faithfulness]
    baselines: tuple[str, ...]
    scored_for: str

    def to_markdown(self) -> str:
        """The table with means and standard errors over images, what its signs mean and what ROAD is biased to."""
        lines = [
            "| maps | combined | morf | lerf | really removed |",
            "|---|---|---|---|---|",
        ]
        for name, row in sorted(self.rows.items(), key=lambda item: -float(item[1].score.nanmean())):
            lerf, morf = (row.curve - row.before[:, None, None]).mean(2).unbind(1)
            shown = name + (" (baseline)" if name in self.baselines else "")
            removed = ", ".join(f"{part:.2f}" for part in row.removed.mean((0, 1)).tolist())
            lines.append(f"| {shown} | {_mean(row.score)} | {_mean(morf)} | {_mean(lerf)} | {removed} |")
        return "\n".join(
            [*lines, "", f"Scored for {self.scored_for}. {self._left_out()}{SIGNS}", "", BLUR_BIAS, ""]
        )

    def _left_out(self) -> str:
        reasons = {
            f"image {i}: {reason}"
            for row in self.rows.values()
            for i, reason in enumerate(row.reasons)
            if reason
        }
        return f"Without a score, and in no mean: {'; '.join(sorted(reasons))}. " if reasons else ""

    def figure(self) -> Figure:
        """The mean curves: the score against the fraction removed, one panel for each order.

        Raises ModuleNotFoundError without matplotlib.
        """
        figure = new_figure(11, 4.5)
        panels = figure.subplots(1, 2, sharey=True)
        titles = ("least relevant first: should stay up", "most relevant first: should fall")
        colours: dict[str, int] = {}
        for k, (panel, title) in enumerate(zip(panels, titles, strict=True)):
            for name, row in self.rows.items():
                fractions = [0.0, *row.removed[:, k].mean(0).tolist()]
                scores = [float(row.before.nanmean()), *row.curve[:, k].nanmean(0).tolist()]
                style = "--" if name in self.baselines else "-"
                of_map = name.removesuffix(", blurred")  # a blurred copy has its map's colour, dashed
                colour = f"C{colours.setdefault(of_map, len(colours)) % 10}"
                panel.plot(fractions, scores, style, color=colour, marker="o", markersize=3, label=name)
            panel.set_title(title)
            panel.set_xlabel("fraction of pixels removed")
        panels[0].set_ylabel("mean score")
        panels[1].legend(fontsize=8)
        return figure


@self_contained
@torch.no_grad()
def road_table(
    model: nn.Module,
    images: Tensor,
    maps: Mapping[str, Tensor] | Explained,
    *,
    targets: TargetsLike | Targets = None,
    removed: Sequence[float] = TUTORIAL,
    ties: Ties = "rank",
    noise: float = 0.01,
    seed: int = 0,
    score: ScoreLike = "softmax",
    batch: int | None = None,
    output: OutputChoice = None,
    progress: bool = True,
) -> RoadTable:
    """ROAD of every entry of ``maps`` (``[n, h, w]`` each) and of baselines, for the same images and targets.

    ``maps``: an `Explanation` or its maps, whose targets are scored, or plain tensors by name, for which each image's
    top class is. The baselines are random values, a centre-Gaussian and blurred copies of the given maps. Arguments and
    errors as `road`; all entries share one forward of the unperturbed images, the noise and the order of ties.
    """
    images = fitting_images(images)
    asked = asked_of(maps, images.device)
    given = {name: fitting_maps(map_, images) for name, map_ in asked.maps.items()}
    check_options(batch, seed, ties)
    baselines = _baselines(given, images, seed)
    everything = {**given, **baselines}
    metric = with_removal(METRICS["road"], Impute(noise), removed)
    classes = class_names_of(unwrap(model)[0])
    with scoring(model) as running:
        count = len(everything) * perturbations(metric)
        base = unperturbed(
            running,
            images,
            asked,
            targets,
            count,
            classes=classes,
            score=score,
            output=output,
            batch=batch,
            owner=model,
        )
        warn_of_probabilities(model, base.outputs, score)
        with Progress("road_table", count, show=progress) as step:
            rows = {name: measured(metric, base, map_, ties, seed, step) for name, map_ in everything.items()}
    return RoadTable(rows, tuple(baselines), base.scored_for)


def _baselines(given: Mapping[str, Tensor], images: Tensor, seed: int) -> dict[str, Tensor]:
    """Maps that know nothing, by name. Raises ValueError for no maps, and for maps named as one of these."""
    if not given:
        raise ValueError("no maps were given; pass an explanation: explain(...)")
    size = (images.shape[2], images.shape[3])
    found = {
        "random": random_maps(len(images), size, seed=seed).to(images.device),
        "centre-Gaussian": centre_gaussian(len(images), size).to(images.device),
        **{f"{name}, blurred": blurred(map_) for name, map_ in given.items()},
    }
    taken = sorted(given.keys() & found.keys())
    if taken:
        raise ValueError(f"{', '.join(taken)} is the name of a baseline; give your maps another")
    return found


def _mean(values: Tensor) -> str:
    scored = values[values.isfinite()]
    if len(scored) == 1:
        return f"{float(scored[0]):+.3f}"
    error = float(scored.std() / torch.tensor(len(scored)).sqrt())
    return f"{float(scored.mean()):+.3f} ± {error:.3f}"

"""Does ROAD itself tell right maps from wrong ones? Phantoms with a known lesion, detectors that read only there."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from xaimed_bench.data import PHANTOM_KINDS, phantoms
from xaimed_core.faithfulness import blurred, centre_gaussian, random_maps, remove, road
from xaimed_core.faithfulness.removal import Impute

SIZE = 96
IMAGES = 6
SEEDS = range(6)
FRACTIONS = (0.02, 0.05, 0.10, 0.20)
OFF_CENTRE = 0.15
"""Parts of the side between a lesion's centre and the image's."""


class Detector(nn.Module):
    """Matches the image with what its lesion adds to its surroundings: no pixel outside the lesion is read."""

    template: Tensor

    def __init__(self, image: Tensor, lesion: Tensor) -> None:
        super().__init__()
        healthy = remove(image[None], ~lesion[None], Impute(noise=0.0), [0])[0]
        template = (image - healthy) * lesion
        self.register_buffer("template", template / template.square().sum())
        self.offset = float((self.template * healthy).sum())

    def forward(self, images: Tensor) -> Tensor:
        """1 for the image itself, 0 without its lesion."""
        return ((images * self.template).sum((1, 2, 3)) - self.offset).unsqueeze(1)


def distance(lesion: Tensor) -> float:
    y, x = lesion.nonzero().float().mean(0) / SIZE - 0.5
    return float((y**2 + x**2).sqrt())


@cache
def cases(kind: str, seed: int):
    """Images with off-centre lesions of 0.5 to 15 % of the pixels: image, lesion."""
    batch = phantoms(kind, 4 * IMAGES, size=SIZE, seed=seed)
    assert batch.masks is not None
    found = [
        (image, lesion)
        for image, lesion in zip(batch.images, batch.masks, strict=True)
        if 0.005 < lesion.float().mean() < 0.15 and distance(lesion) > OFF_CENTRE
    ]
    return found[:IMAGES]


def true_map(lesion: Tensor) -> Tensor:
    """The lesion, highest inside, with the soft edge that resized maps have."""
    return blurred(lesion[None].float(), sigma=1 / SIZE)[0]


def shifted(map_: Tensor, lesion: Tensor) -> Tensor:
    """The map moved by one lesion diameter, to the side that has room for it."""
    columns = lesion.any(0).nonzero().flatten()
    width = int(columns.max() - columns.min()) + 1
    room = columns.min() >= width
    return torch.roll(map_, -width if room else width, dims=1)


def mean_scores(kind: str, seed: int) -> dict[str, float]:
    totals: dict[str, list[float]] = {}
    for index, (image, lesion) in enumerate(cases(kind, seed)):
        detector = Detector(image, lesion)
        true = true_map(lesion)
        maps = {
            "true": true,
            "random": random_maps(1, (SIZE, SIZE), seed=100 * seed + index)[0],
            "inverted": 1 - true,
            "shifted": shifted(true, lesion),
            "centre": centre_gaussian(1, (SIZE, SIZE))[0],
            "blurred": blurred(true[None])[0],
        }
        for name, map_ in maps.items():
            found = road(
                detector, image[None], map_[None], targets=0, removed=FRACTIONS, score="logit", seed=seed
            )
            totals.setdefault(name, []).append(float(found.score))
    return {name: sum(values) / len(values) for name, values in totals.items()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", PHANTOM_KINDS)
def test_the_true_map_beats_wrong_ones_in_every_seed(kind, seed):
    assert len(cases(kind, seed)) >= 3
    scores = mean_scores(kind, seed)
    for wrong in ("random", "inverted", "shifted", "centre"):
        assert scores["true"] > scores[wrong] + 0.05, (wrong, scores)


def test_the_detector_reads_the_lesion_alone():
    for image, lesion in cases("mri", 0):
        detector = Detector(image, lesion)
        picture = image[None].clone().requires_grad_()
        detector(picture).backward()
        assert (picture.grad[0][:, ~lesion] == 0).all()
        assert picture.grad[0][:, lesion].abs().max() > 0
        assert detector(image[None]).item() == pytest.approx(1, abs=1e-4)

"""Maps beside baselines."""

import pytest
import torch
from torch import nn

from xaimed_core.faithfulness import BLUR_BIAS, blurred, centre_gaussian, random_maps, road, road_table

SIZE = 24


def case():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )
    images = torch.randn(4, 3, SIZE, SIZE)
    return model.eval(), images, {"first": torch.rand(4, SIZE, SIZE), "second": torch.rand(4, SIZE, SIZE)}


def test_every_table_has_the_baselines_and_says_what_signs_and_blur_mean():
    model, images, maps = case()
    calls = []
    model.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    table = road_table(model, images, maps, removed=(0.1, 0.5))
    assert list(table.rows) == [
        "first", "second", "random", "centre-Gaussian", "first, blurred", "second, blurred",
    ]  # fmt: skip
    assert calls == [4] * (2 + 6 * 4)  # one forward as they are, and one to see whether images mix, serve all
    text = table.to_markdown()
    assert BLUR_BIAS in text
    assert "positive is good" in text
    assert "negative: the removed pixels mattered" in text
    assert text.count("(baseline)") == 4


def test_rows_are_what_road_gives():
    model, images, maps = case()
    table = road_table(model, images, maps, removed=(0.1, 0.5), seed=3)
    alone = road(model, images, maps["second"], removed=(0.1, 0.5), seed=3)
    assert torch.allclose(table.rows["second"].score, alone.score, atol=1e-6)


def test_the_figure_draws_each_row_once_per_order():
    model, images, maps = case()
    figure = road_table(model, images, maps, removed=(0.1, 0.5)).figure()
    assert [len(panel.lines) for panel in figure.axes] == [6, 6]
    first = figure.axes[0].lines[0]
    assert first.get_xdata()[0] == 0
    assert len(first.get_ydata()) == 3


def test_bad_names_of_maps_are_named():
    model, images, maps = case()
    with pytest.raises(ValueError, match="no maps were given"):
        road_table(model, images, {})
    with pytest.raises(ValueError, match="random is the name of a baseline"):
        road_table(model, images, {"random": maps["first"]})


def test_baselines_are_seeded_centred_and_scaled():
    assert torch.equal(random_maps(2, (5, 6)), random_maps(2, (5, 6)))
    assert not torch.equal(random_maps(1, (5, 6), seed=0), random_maps(1, (5, 6), seed=1))
    bell = centre_gaussian(2, (9, 11))[1]
    assert bell.argmax() == 4 * 11 + 5
    assert torch.allclose(bell, bell.flip(0).flip(1))
    soft = blurred(torch.rand(3, 32, 32))
    assert torch.equal(soft.amin((1, 2)), torch.zeros(3))
    assert torch.equal(soft.amax((1, 2)), torch.ones(3))
    assert (blurred(torch.zeros(1, 8, 8)) == 0).all()

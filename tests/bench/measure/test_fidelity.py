"""How far outputs lie apart, against values worked out by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from xaimed_bench.measure import nearer_sign, of_maps, of_values
from xaimed_core import explain
from xaimed_core.semantics import MIN_MAX_EPS
from xaimed_kernels.rescale_maps import rescale_maps

RAMP = np.linspace(0, 1, 100).reshape(1, 10, 10)


def test_equal_maps_agree_in_every_number():
    found = of_maps(torch.from_numpy(RAMP), RAMP)
    assert (found.largest, found.rms, found.spread, found.top_5, found.top_20) == (0, 0, 1, 1, 1)
    assert found.spearman == pytest.approx(1)


def test_one_wrong_pixel_decides_however_small_the_mean():
    other = RAMP.copy()
    other[0, 5, 5] += 0.25
    found = of_maps(other, RAMP)
    assert found.largest == pytest.approx(0.25)
    assert found.rms == pytest.approx(0.025)


def test_ranks_and_overlaps_are_the_textbooks():
    chance = np.random.default_rng(0)
    a, b = chance.random((3, 12, 12)), chance.random((3, 12, 12))
    found = of_maps(a, b)
    both = list(zip(a, b, strict=True))
    assert found.spearman == pytest.approx(np.mean([spearmanr(x.ravel(), y.ravel())[0] for x, y in both]))

    def top(x, count):
        return set(np.argsort(x.ravel())[-count:])

    expected = np.mean([len(top(x, 7) & top(y, 7)) / 7 for x, y in both])
    assert found.top_5 == pytest.approx(expected)


def test_an_inverted_map_has_opposite_ranks_and_no_overlap():
    found = of_maps(1 - RAMP, RAMP)
    assert found.spearman == pytest.approx(-1)
    assert found.top_20 == 0


def test_only_images_whose_expected_map_has_a_spread_are_compared():
    expected = np.concatenate([RAMP, np.zeros_like(RAMP), np.full_like(RAMP, np.nan)])
    ours = np.concatenate([RAMP, np.ones_like(RAMP), RAMP])
    found = of_maps(ours, expected)
    assert found.largest == 0
    assert found.spread == pytest.approx(1 / 3)


def test_zeros_are_never_among_the_highest_pixels():
    sparse = np.zeros((1, 10, 10))
    sparse[0, 0, :3] = (0.5, 0.8, 1.0)
    assert of_maps(sparse, sparse).top_20 == 1
    shifted = np.zeros_like(sparse)
    shifted[0, 9, :3] = (0.5, 0.8, 1.0)
    assert of_maps(shifted, sparse).top_20 == 0


def test_values_are_judged_relative_to_the_largest_expected_one():
    found = of_values([[1.0, 200.0], [3.0, 4.0]], [[0.0, 200.0], [3.0, 4.0]], name="drops")
    assert found.largest == pytest.approx(1 / 200)
    assert of_values([0.5], [0.0], name="drops").spread == 0
    assert of_values([float("nan")], [1.0], name="drops").largest > 1e6
    assert of_values([1.1], [1.0], name="pixels", scale=0.5).largest == pytest.approx(0.2)


def test_shapes_must_match():
    with pytest.raises(ValueError, match="must be the same"):
        of_maps(RAMP, RAMP[:, :5])


def test_only_a_principal_map_may_have_either_sign_and_each_image_has_its_own():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    found = explain(net, torch.randn(3, 3, 9, 9), ("eigencam", "xgradcam"), "0", semantics="grad-cam")
    turned = {m: rescale_maps(-raw, (9, 9), eps=MIN_MAX_EPS).maps for m, raw in found.raw.items()}
    expected = {m: torch.stack([maps[0], turned[m][1], maps[2]]) for m, maps in found.maps.items()}
    assert not torch.equal(found.maps["eigencam"][1], turned["eigencam"][1])
    assert torch.equal(nearer_sign(found, "eigencam", expected["eigencam"].numpy()), expected["eigencam"])
    assert torch.equal(nearer_sign(found, "xgradcam", expected["xgradcam"]), found.maps["xgradcam"])

"""Which pixels go: exact counts by rank, and grad-cam's threshold to the pixel."""

import numpy as np
import pytest
import torch

from xaimed_core.compat.metrics.perturbation_confidence import removal_masks
from xaimed_core.faithfulness import masks_of

FRACTIONS = (0.0, 0.02, 0.1, 0.5, 0.8, 1.0)
PERCENTILES = (0, 10, 20, 30, 33, 40, 50, 60, 66.6, 70, 80, 90, 99, 100)
SIZES = ((1, 1), (7, 5), (16, 16), (97, 128), (224, 224))


@pytest.fixture(scope="module")
def upstream():
    """grad-cam's removal by threshold."""
    return pytest.importorskip(
        "pytorch_grad_cam.metrics.perturbation_confidence", reason="grad-cam is not installed"
    )


def maps_with(kind, size, count=2, seed=0):
    random = np.random.default_rng(seed)
    values = random.random((count, *size))
    match kind:
        case "distinct":
            pass
        case "zeros":  # a ReLU's
            values = np.maximum(values - 0.49, 0)
        case "few values":
            values = np.floor(values * 7) / 7
        case "constant":
            values = np.full_like(values, 0.3)
        case "near one":  # 1 - x rounds
            values = 1 - values * 1e-6
    return torch.from_numpy(values.astype(np.float32))


@pytest.mark.parametrize("kind", ["distinct", "zeros", "few values", "constant"])
@pytest.mark.parametrize("size", SIZES)
def test_rank_removes_the_exact_count_from_the_right_end(kind, size):
    maps = maps_with(kind, size)
    masks = masks_of(maps, FRACTIONS, ("morf", "lerf"))
    pixels = size[0] * size[1]
    for k, fraction in enumerate(FRACTIONS):
        count = int(fraction * pixels + 0.5)
        assert ((~masks.keep[:, :, k]).sum((-2, -1)) == count).all()
        assert torch.allclose(masks.removed[:, :, k], torch.tensor(count / pixels), atol=1e-6)
        for i, map_ in enumerate(maps):
            morf, lerf = masks.keep[i, 0, k], masks.keep[i, 1, k]
            if 0 < count < pixels:
                assert map_[~morf].min() >= map_[morf].max()
                assert map_[~lerf].max() <= map_[lerf].min()


def test_the_two_orders_are_each_others_complement():
    masks = masks_of(maps_with("zeros", (16, 16)), (0.25, 0.75), ("morf", "lerf"))
    assert torch.equal(masks.keep[:, 0, 0], ~masks.keep[:, 1, 1])
    assert torch.equal(masks.keep[:, 0, 1], ~masks.keep[:, 1, 0])


def test_larger_fractions_remove_the_smaller_ones_too():
    keep = masks_of(maps_with("few values", (16, 16)), (0.1, 0.3, 0.9), ("morf",)).keep[:, 0]
    assert (keep[:, 0] >= keep[:, 1]).all()
    assert (keep[:, 1] >= keep[:, 2]).all()


def test_ties_are_broken_by_the_seed_alone():
    maps = maps_with("constant", (32, 32))
    first, again, other = (masks_of(maps, (0.3,), ("morf",), seed=s).keep for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])  # images do not share their ties
    rows = (~first[0, 0, 0]).float().mean(1)
    assert rows.min() > 0.05  # spread over the image, not its first pixels
    distinct = maps_with("distinct", (32, 32))
    assert torch.equal(*(masks_of(distinct, (0.3,), ("morf",), seed=s).keep for s in (0, 1)))


@pytest.mark.parametrize("kind", ["distinct", "zeros", "few values", "constant", "near one"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_threshold_removes_exactly_the_pixels_that_grad_cam_removes(upstream, kind, size, dtype):
    maps = maps_with(kind, size).to(dtype)
    kept = []
    image = torch.zeros(1, *size)
    for percentile in PERCENTILES:
        ours = {order: removal_masks(maps, [percentile], order)[:, 0] for order in ("morf", "lerf")}
        for order, theirs in (
            ("morf", upstream.RemoveMostRelevantFirst),
            ("lerf", upstream.RemoveLeastRelevantFirst),
        ):
            for i, map_ in enumerate(maps):
                theirs(percentile, lambda _, mask: kept.append(mask))(image, map_)
                assert torch.equal(ours[order][i], kept.pop().bool()), (percentile, order)


@pytest.mark.parametrize("percentiles", [np.arange(10, 100, 10), np.linspace(1, 99, 23)])
def test_percentiles_of_numpy_types_are_blended_as_numpy_does(upstream, percentiles):
    kept = []
    maps = maps_with("few values", (31, 17)) * 0.7
    for percentile in percentiles:
        ours = removal_masks(maps, [percentile], "morf")[:, 0]
        for i, map_ in enumerate(maps):
            upstream.RemoveMostRelevantFirst(percentile, lambda _, mask: kept.append(mask))(None, map_)
            assert torch.equal(ours[i], kept.pop().bool())


def test_fractions_with_the_threshold_are_grad_cams_percentiles():
    maps = maps_with("zeros", (97, 128))
    for fraction, percentile in ((0.1, 90), (0.2, 80), (0.3, 70), (0.7, 30), (0.9, 10)):
        ours = masks_of(maps, (fraction,), ("morf", "lerf"), ties="threshold").keep
        assert torch.equal(ours[:, 0], removal_masks(maps, [percentile], "morf"))
        assert torch.equal(ours[:, 1], removal_masks(maps, [percentile], "lerf"))


def test_the_threshold_removes_everything_where_rank_removes_what_was_asked():
    """A map with 49 % zeros: grad-cam's percentiles 10 to 40 are 0, and nothing is below 0."""
    maps = maps_with("zeros", (64, 64))
    zeros = (maps == 0).float().mean()
    assert 0.45 < zeros < 0.53
    asked = (0.9, 0.8, 0.7, 0.6)
    threshold = masks_of(maps, asked, ("morf",), ties="threshold")
    rank = masks_of(maps, asked, ("morf",), ties="rank")
    assert (threshold.removed == 1).all()
    assert torch.allclose(rank.removed, torch.tensor(asked), atol=1e-3)
    constant = masks_of(maps_with("constant", (9, 9)), (0.2,), ("morf", "lerf"), ties="threshold")
    assert (constant.removed == 1).all()


@pytest.mark.parametrize(
    ("maps", "removed", "options", "says"),
    [
        (torch.zeros(2, 4, 4), (1.2,), {}, "fractions between 0 and 1"),
        (torch.zeros(2, 4, 4), (-0.1,), {}, "fractions between 0 and 1"),
        (torch.zeros(2, 4, 4), (20,), {}, "20 percent are 0.2"),
        (torch.zeros(2, 4, 4), (), {}, "fractions between"),
        (torch.zeros(2, 4, 4), (float("nan"),), {}, "fractions between"),
        (torch.zeros(4, 4), (0.5,), {}, r"map\[None\]"),
        (torch.zeros(0, 4, 4), (0.5,), {}, r"\[n, h, w\]"),
        (torch.zeros(2, 4, 4, dtype=torch.int64), (0.5,), {}, "real numbers"),
        (torch.zeros(2, 4, 4), (0.5,), {"ties": "random"}, "unknown ties 'random'"),
        (torch.full((2, 4, 4), torch.inf), (0.5,), {}, "map of image 0 holds NaN or infinity"),
        (torch.tensor([[[0.0]], [[torch.nan]]]), (0.5,), {}, "map of image 1 holds NaN"),
    ],
)
def test_bad_maps_and_fractions_are_named(maps, removed, options, says):
    with pytest.raises(ValueError, match=says):
        masks_of(maps, removed, ("morf",), **options)


def test_an_unknown_order_is_named():
    with pytest.raises(ValueError, match="choose from morf, lerf"):
        masks_of(torch.zeros(1, 2, 2), (0.5,), ("most",))

"""One bad image or map among good ones: the others keep their values, and the reason is said."""

import pytest
import torch
from torch import nn

from tests.faithfulness.conftest import SIZE, case
from xaimed_core.faithfulness import evaluate, road, road_table


@pytest.mark.parametrize("metric", ["road", "road-morf", "deletion", "drop"])
@pytest.mark.parametrize("spoilt", ["image", "map", "infinite"])
def test_one_bad_image_or_map_leaves_the_others_as_they_are(metric, spoilt):
    model, images, maps = case(4)
    expected = evaluate(metric, model, images, maps["first"], targets=[0, 1, 2, 3])
    bad_images, bad_maps = images.clone(), maps["first"].clone()
    if spoilt == "map":
        bad_maps[1, 3, 3] = torch.nan
    else:
        bad_images[1, 0, 3, 3] = torch.nan if spoilt == "image" else torch.inf
    found = evaluate(metric, model, bad_images, bad_maps, targets=[0, 1, 2, 3])
    others = [0, 2, 3]
    for field in ("score", "before", "curve"):
        assert torch.equal(getattr(found, field)[others], getattr(expected, field)[others])
        assert getattr(found, field)[1].isnan().all()
    what = "its map holds NaN" if spoilt == "map" else "the image holds NaN"
    assert [bool(reason) for reason in found.reasons] == [False, True, False, False]
    assert what in found.reasons[1]
    assert "over 3 images" in repr(found)
    assert "nan" not in repr(found)
    assert f"1 without a score ({what}" in repr(found)
    assert expected.reasons == ("",) * 4


def test_a_table_leaves_a_bad_image_out_of_its_means_and_says_so():
    model, images, maps = case(4)
    classes = [0, 1, 2, 3]
    spoilt = {name: map_.clone() for name, map_ in maps.items()}
    spoilt["second"][2, 0, 0] = torch.nan
    bad = images.clone()
    bad[0, 0, 0, 0] = torch.nan
    table = road_table(model, bad, spoilt, targets=classes)
    expected = road(model, images, maps["first"], targets=classes)
    assert torch.equal(table.rows["first"].score[1:], expected.score[1:])
    text = table.to_markdown()
    assert "nan" not in text
    assert "image 0: the image holds NaN" in text
    assert "image 2: its map holds NaN" in text
    assert all(
        torch.isfinite(torch.tensor(line.get_ydata(), dtype=torch.float64)).all()
        for line in table.figure().axes[0].lines
    )


class SometimesLost(nn.Module):
    """NaN for images whose mean is positive."""

    def forward(self, images):
        mean = images.mean((2, 3))
        return mean.log()


def test_an_image_for_which_the_model_fails_has_the_reason():
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    images[1] -= 2
    found = road(SometimesLost(), images, images[:, 0], targets=0, score="logit", noise=0.0)
    assert [bool(reason) for reason in found.reasons] == [False, True, False]
    assert "the model's score of the image is NaN" in found.reasons[1]


def test_only_where_no_image_can_be_scored_is_it_an_error():
    model, images, maps = case()
    with pytest.raises(ValueError, match="no image can be scored; image 0: the image holds NaN"):
        road(model, images * torch.nan, maps["first"])
    with pytest.raises(ValueError, match="no image can be scored; image 0: its map holds NaN"):
        road_table(model, images, {"first": maps["first"] * torch.nan})

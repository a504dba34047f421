"""Why one class and not another: the difference of two logits, for every method."""

import pytest
import torch

from tests.core.conftest import FEW_FORWARDS
from xaimed_core import explain


@pytest.mark.parametrize("layer", ["block", "late"])
def test_a_contrast_is_the_map_of_the_difference_of_the_logits(net, images, layer):
    contrasted = explain(net, images, FEW_FORWARDS, layer, targets=2, against=[0, 1, 4])
    for i, other in enumerate([0, 1, 4]):
        by_hand = explain(
            net, images[i : i + 1], FEW_FORWARDS, layer, targets=lambda row, k=other: row[2] - row[k]
        )
        for method in FEW_FORWARDS:
            raw, expected = contrasted.raw[method][i], by_hand.raw[method][0]
            assert expected.abs().max() > 0
            torch.testing.assert_close(raw, expected, rtol=0, atol=2e-5 * expected.abs().max().item())


def test_without_targets_the_top_class_is_contrasted(net, images):
    top = net(images).argmax(1)
    other = (top + 1) % 5
    found = explain(net, images, ("xgradcam", "ablationcam"), "block", against=other)
    expected = explain(net, images, ("xgradcam", "ablationcam"), "block", targets=top, against=other)
    for method, maps in found.maps.items():
        assert maps.std() > 0.05
        assert torch.equal(maps, expected.maps[method])


def test_a_class_against_itself_has_no_evidence(net, images):
    with pytest.warns(UserWarning, match="every .* map is empty"):
        found = explain(net, images, ("layercam", "ablationcam"), "block", targets=1, against=1)
    assert found.empty["layercam"].all()
    assert found.empty["ablationcam"].all()


def test_only_classes_can_be_contrasted(net, images):
    with pytest.raises(TypeError, match="against contrasts classes"):
        explain(net, images, "xgradcam", "block", targets=lambda row: row[0], against=1)
    with pytest.raises(IndexError, match=r"\[7\] is out of range"):
        explain(net, images, "xgradcam", "block", targets=0, against=7)


def test_several_classes_are_weighed_by_their_probabilities(net, images):
    others = [[0, 1], [1, 4], [0, 3]]
    found = explain(net, images, FEW_FORWARDS, "block", targets=2, against=others)
    for i, each in enumerate(others):

        def by_hand(row, each=each):
            chance = row.softmax(0)[each]
            return (chance * (row[2] - row[each])).sum() / chance.sum()

        alone = explain(net, images[i : i + 1], FEW_FORWARDS, "block", targets=by_hand)
        for method in FEW_FORWARDS:
            raw, expected = found.raw[method][i], alone.raw[method][0]
            assert expected.abs().max() > 0
            torch.testing.assert_close(raw, expected, rtol=0, atol=5e-5 * expected.abs().max().item())

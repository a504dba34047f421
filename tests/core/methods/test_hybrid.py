"""Hybrids of two maps, and what scores them."""

import pytest
import torch

from xaimed_core import explain, hybrid, road_table

TWO = ("layercam", "gradcam++")


def scaled(maps: torch.Tensor) -> torch.Tensor:
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low).clamp(min=1e-30), 0.0)


RULES = {
    "product": lambda a, b: a * b,
    "geometric mean": lambda a, b: (a * b) ** 0.5,
    "within": lambda a, b: torch.where(b < 0.5, torch.zeros_like(a), a),
}


@pytest.mark.parametrize("targets", [1, [[0, 2], [1, 3], [4, 0]]], ids=["one", "several"])
@pytest.mark.parametrize("how", RULES)
def test_a_hybrid_is_its_rule_scaled_again_beside_its_parts(net, images, how, targets):
    e = explain(net, images, TWO, "block", targets)
    found = hybrid(e, *TWO, how)
    assert list(found)[:2] == list(TWO)
    name = list(found)[2]
    expected = scaled(RULES[how](*(e.maps[method] for method in TWO)))
    torch.testing.assert_close(found[name], expected)
    assert expected.amax() == 1
    assert all(torch.equal(found[method], e.maps[method]) for method in TWO)
    assert found.targets is e.maps.targets


def test_hybrids_of_hybrids_are_scored_for_the_class_that_was_explained(net, images):
    e = explain(net, images, TWO, "block", 1)
    both = hybrid(hybrid(e, *TWO, "within", above=0.3), *TWO)
    assert list(both)[2:] == ["layercam within gradcam++", "product of layercam and gradcam++"]
    table = road_table(net, images, both, removed=(0.2, 0.4), progress=False).to_markdown()
    assert all(name in table for name in both)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda e: hybrid(e, "layercam", "xgradcam"), "no map of xgradcam was explained; there are layercam"),
        (lambda e: hybrid(e, *TWO, "sum"), "no hybrid 'sum'; choose product, geometric mean, within"),
        (lambda e: hybrid(e, *TWO, "within", above=2), "above must be a number from 0 to 1, got 2"),
    ],
    ids=["method", "how", "above"],
)
def test_what_is_wrong_is_named(net, images, call, words):
    with pytest.raises(ValueError, match=words):
        call(explain(net, images, TWO, "block"))

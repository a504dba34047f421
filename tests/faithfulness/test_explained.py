"""Maps that carry their targets, scores that are probabilities already, and one bad image among good ones."""

import copy
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.faithfulness.conftest import case, network
from xaimed_core.explanation import Maps
from xaimed_core.faithfulness import METRICS, evaluate, road, road_table
from xaimed_core.faithfulness.scoring import scoring
from xaimed_core.targets import ClassTargets, ContrastTargets, FunctionTargets


def explanation(maps, targets, **given):
    return SimpleNamespace(maps=Maps(maps, targets, **given))


OTHER = ClassTargets(torch.tensor([3, 0, 1]))


@pytest.mark.parametrize(
    "targets",
    [
        OTHER,
        ContrastTargets(OTHER, ClassTargets(torch.tensor([0, 1, 2]))),
        FunctionTargets((lambda row: row[1] - row[0],) * 3),
    ],
    ids=lambda t: type(t).__name__,
)
def test_an_explanation_is_scored_for_its_own_targets(targets):
    model, images, maps = case()
    expected = road(model, images, maps["second"], targets=targets)
    assert not torch.allclose(expected.score, road(model, images, maps["second"]).score, atol=1e-4)
    for held in (
        explanation(maps, targets),
        Maps(maps, targets),
        SimpleNamespace(maps=maps, targets=targets),
    ):
        found = road(model, images, held, method="second")
        assert torch.equal(found.score, expected.score)
        assert found.scored_for == "the targets that the maps explain"
        assert torch.equal(evaluate("road", model, images, held, method="second").score, expected.score)
        table = road_table(model, images, held)
        assert torch.allclose(table.rows["second"].score, expected.score, atol=1e-6)
        assert "Scored for the targets that the maps explain." in table.to_markdown()


def test_plain_maps_say_that_the_top_class_was_scored():
    model, images, maps = case()
    found = road(model, images, maps["first"])
    assert torch.equal(found.targets.index, model(images).argmax(1))
    assert "scored for each image's top class, since the maps do not say" in repr(found)
    table = road_table(model, images, maps)
    assert "each image's top class" in table.scored_for
    assert "Scored for each image's top class" in table.to_markdown()
    assert "each image's top class" in road(model, images, explanation(maps, None), method="first").scored_for


def test_targets_that_are_not_the_explanations_are_said():
    model, images, maps = case()
    held = explanation(maps, OTHER)
    for given, words in (
        ([3, 0, 1], "the given targets"),
        (np.array([3, 0, 1]), "the given targets"),
        (OTHER, "the given targets"),
        (2, "the given targets, which are not those that the maps explain"),
        (lambda row: row[0], "the given targets, which are not those that the maps explain"),
    ):
        found = road(model, images, held, method="first", targets=given)
        assert found.scored_for == words
        assert f"scored for {words}" in repr(found)
        assert f"Scored for {words}." in road_table(model, images, held, targets=given).to_markdown()


def test_class_names_of_the_model_are_targets():
    model, images, maps = case()
    model.classes = ["ant", "bee", "cat", "dog"]
    found = road(model, images, maps["first"], targets=["dog", "ant", "bee"])
    assert torch.equal(found.score, road(model, images, maps["first"], targets=OTHER).score)


def test_one_method_is_named_among_several():
    model, images, maps = case()
    with pytest.raises(ValueError, match=r'which maps\? the methods are first, second; give method="\.\.\."'):
        road(model, images, Maps(maps, OTHER))
    with pytest.raises(ValueError, match="no maps of 'third': the methods are first, second"):
        evaluate("road", model, images, Maps(maps, OTHER), method="third")
    alone = Maps({"first": maps["first"]}, OTHER)
    assert road(model, images, alone).scored_for == "the targets that the maps explain"


@pytest.mark.parametrize("score", [road, road_table])
def test_several_classes_of_each_image_are_scored_one_by_one(score):
    model, images, maps = case()
    several = {name: map_[:, None].expand(-1, 2, -1, -1) for name, map_ in maps.items()}
    with pytest.raises(ValueError, match=r"2 classes of each image.*e\.of\(0\), e\.of\(1\)"):
        score(model, images, explanation(several, (OTHER, OTHER)))


def test_an_explanation_of_other_images_is_named():
    model, images, maps = case()
    with pytest.raises(ValueError, match="3 targets for 2 images"):
        road(model, images[:2], maps["first"][:2], targets=OTHER)
    with pytest.raises(ValueError, match="one per image"):
        road(model, images[:2], explanation(maps, OTHER), method="first")


class Two(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        scores = self.inner(images)
        return scores.flip(1) * 2, scores


@pytest.mark.parametrize(
    "score", [lambda *a, **k: road(*a, **k).score, lambda *a, **k: road_table(*a, **k).rows]
)
def test_the_output_that_was_explained_is_scored(score):
    model, images, maps = case()
    one = {"first": maps["first"]}
    with pytest.raises(ValueError, match=r"(?s)2 tensors that could be the scores.*output=1"):
        score(Two(model), images, Maps(one, OTHER))
    expected = score(model, images, Maps(one, OTHER))
    chosen = score(Two(model), images, Maps(one, OTHER, output=1))
    given = score(Two(model), images, Maps(one, OTHER), output=lambda out: out[1])
    for found in (chosen, given):
        if isinstance(found, dict):
            assert all(torch.equal(found[name].score, expected[name].score) for name in expected)
        else:
            assert torch.equal(found, expected)


def test_maps_are_a_dictionary_that_can_be_copied_and_stored():
    _, _, maps = case()
    held = Maps(maps, OTHER, output=1)
    for again in (copy.copy(held), pickle.loads(pickle.dumps(held))):
        assert isinstance(again, Maps)
        assert list(again) == ["first", "second"]
        assert torch.equal(again.targets.index, OTHER.index)
        assert again.output == 1


class Carrying(Tensor):
    pass


def test_arrays_subclasses_and_other_precisions_of_maps_are_taken():
    model, images, maps = case()
    expected = road(model, images, maps["first"], targets=OTHER).score
    for given in (
        maps["first"].numpy(),
        maps["first"].double().numpy(),
        maps["first"].numpy()[:, ::-1][:, ::-1],
        maps["first"].as_subclass(Carrying),
    ):
        found = road(model, images.as_subclass(Carrying), given, targets=OTHER)
        assert torch.equal(found.score, expected)
        assert type(found.score) is Tensor
        table = road_table(model, images.as_subclass(Carrying), {"first": given}, targets=OTHER)
        assert type(table.rows["first"].curve) is Tensor
        assert torch.allclose(table.rows["first"].score, expected, atol=1e-6)


def test_probabilities_are_taken_as_they_are():
    _, images, maps = case()
    for last, score in ((nn.Softmax(1), "softmax"), (nn.Sigmoid(), "sigmoid")):
        expected = road(network(), images, maps["first"], targets=OTHER, score=score)
        found = road(network(last), images, maps["first"], targets=OTHER, score="probability")
        assert torch.allclose(found.curve, expected.curve, atol=1e-6)


@pytest.mark.parametrize(
    ("last", "score", "n", "warned"),
    [
        (nn.Softmax(1), "softmax", 3, True),
        (nn.Softmax(1), "sigmoid", 3, True),
        (nn.Sigmoid(), "sigmoid", 8, True),
        (nn.Sigmoid(), "sigmoid", 3, False),  # 12 numbers in [0, 1] may be logits
        (nn.Sigmoid(), "softmax", 8, False),
        (None, "softmax", 8, False),
        (None, "sigmoid", 8, False),
        (nn.Softmax(1), "probability", 3, False),
        (nn.Softmax(1), "logit", 3, False),
    ],
)
def test_softmax_of_probabilities_is_warned_of_once_for_each_model(last, score, n, warned):
    _, images, maps = case(n)
    model = network(last)
    for first in (True, False):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            road(model, images, maps["first"], score=score)
            road_table(model, images, maps, score=score, removed=(0.5,))
        assert len(caught) == (warned and first)
        assert all('use score="probability"' in str(one.message) for one in caught)


@pytest.mark.parametrize("run", [road, road_table])
def test_neither_modes_nor_random_numbers_are_touched(run):
    model, images, maps = case()
    model.train()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    run(model, images, maps["first"] if run is road else maps)
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training for module in model.modules())


class Drawing(nn.Module):
    def forward(self, images):
        torch.rand(1)
        return images.mean((2, 3))


@pytest.mark.parametrize("training", [False, True])
def test_a_model_that_draws_moves_the_generator_on(training):
    """Putting it back would let other threads draw the same numbers again."""
    _, images, maps = case()
    torch.manual_seed(7)
    road(Drawing().train(training), images, maps["first"], removed=(0.5,), order="morf", noise=0.0)
    found = torch.get_rng_state()
    torch.manual_seed(7)
    torch.rand(1), torch.rand(1), torch.rand(1)  # as they are, the look whether images mix, perturbed
    assert torch.equal(found, torch.get_rng_state())


def test_scoring_gives_the_module_to_call_and_refuses_what_is_none():
    model = network().train()
    with scoring(model) as running:
        assert not running.training
        assert not torch.is_grad_enabled()
    assert model.training
    _, images, maps = case()
    for wrong in ("resnet50.pt", model.state_dict(), nn.Linear, None):
        with pytest.raises(TypeError, match=r"model is "):
            road(wrong, images, maps["first"])


def test_every_metric_says_whose_scores_it_has():
    model, images, maps = case()
    for name in METRICS:
        found = evaluate(name, model, images, Maps(maps, OTHER), method="first")
        assert found.scored_for == "the targets that the maps explain"

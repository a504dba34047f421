"""What a caller may pass as targets, and where logits are found in an output."""

import operator
import re
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaimed_core import explain
from xaimed_core.classes import class_names_of
from xaimed_core.contrast import contrast
from xaimed_core.outputs import plain, scores_in
from xaimed_core.targets import (
    ClassTargets,
    FunctionTargets,
    are_several,
    resolve_targets,
    split_targets,
)

LOGITS = torch.tensor([[0.1, 0.9, 0.5], [2.0, 1.0, 0.0]])
NAMES = ("ant", "bee", "cat")


@pytest.mark.parametrize(
    ("given", "index"),
    [
        (None, [1, 0]),
        (2, [2, 2]),
        ([0, 2], [0, 2]),
        (torch.tensor([0, 2]), [0, 2]),
        (torch.tensor(1), [1, 1]),
        (np.array([1, 0]), [1, 0]),
        (np.int64(2), [2, 2]),
        (np.array(2), [2, 2]),
        (np.array([1, 0], dtype=np.uint8), [1, 0]),
        ([np.int32(1), np.int64(0)], [1, 0]),
        ([torch.tensor(1), torch.tensor(0, dtype=torch.uint8)], [1, 0]),
        (torch.tensor([[2], [1]]), [2, 1]),
        (iter([0, 2]), [0, 2]),
        ("bee", [1, 1]),
        (["cat", "ant"], [2, 0]),
        (np.array(["bee", "cat"]), [1, 2]),
        (["cat", 1], [2, 1]),
        (ClassTargets(torch.tensor([2, 0])), [2, 0]),
    ],
)
def test_classes_are_resolved_per_image(given, index):
    found = resolve_targets(given, LOGITS, NAMES)
    assert isinstance(found, ClassTargets)
    assert found.index.tolist() == index
    torch.testing.assert_close(found.score(LOGITS, torch.arange(2)), LOGITS[torch.arange(2), index])


def test_a_function_scores_each_row_by_its_image():
    found = resolve_targets([lambda row: row[0], lambda row: row[1] - row[2]], LOGITS)
    assert isinstance(found, FunctionTargets)
    rows = LOGITS[[1, 0, 1]]
    assert found.score(rows, torch.tensor([1, 0, 1])).tolist() == pytest.approx([1.0, 0.1, 1.0])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: {"logits": x, "aux": None},
        lambda x: {"out": x},
        lambda x: (x, None),
        lambda x: SimpleNamespace(logits=x),
        lambda x: [{"logits": x}],
    ],
)
def test_logits_are_found_in_common_outputs(net, images, wrap):
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> object:
            return wrap(self.inner(x))

    assert scores_in(wrap(LOGITS), None)[0] is LOGITS
    expected = explain(net, images, ("xgradcam", "ablationcam"), "block")
    found = explain(Wrapped(), images, ("xgradcam", "ablationcam"), "inner.block")
    for method, maps in expected.maps.items():
        assert maps.std() > 0.05
        torch.testing.assert_close(found.maps[method], maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([2.7, 1.9], TypeError, "got 2.7"),
        (2.0, TypeError, "got 2.0"),
        (float("nan"), TypeError, "got nan"),
        (True, TypeError, "got True"),
        ([True, False], TypeError, "got True"),
        (np.bool_(True), TypeError, "got True"),
        (np.array([True, False]), TypeError, "got True"),
        (np.array([0.0, 1.0]), TypeError, "got 0.0"),
        (torch.tensor([True, False]), TypeError, "torch.bool"),
        ([torch.tensor(True), torch.tensor(False)], TypeError, "got tensor"),
        ([torch.tensor(1.0), torch.tensor(0)], TypeError, "got tensor"),
        (torch.tensor([1 + 0j, 0]), TypeError, "complex"),
        (["2", "1"], ValueError, "no class is named '2'"),
        ("be", ValueError, "did you mean 'bee'"),
        ([-1, 0], IndexError, "-1"),
        ([0, 3], IndexError, r"\[3\] is out of range"),
        ([0], ValueError, "1 targets for 2 images"),
        ([0, 1, 2], ValueError, "3 targets for 2 images"),
        ([], ValueError, "0 targets for 2 images"),
        (torch.tensor([[0, 1]]), ValueError, "one class per image"),
        ({0, 1}, TypeError, "in the images' order, got a set"),
        ({"a": 1, "b": 0}, TypeError, "in the images' order, got a dict"),
        ([None, 0], TypeError, "got None"),
        ([0, lambda row: row[0]], TypeError, "all classes or all callables"),
        ([[0, 1], [2, 0]], TypeError, r"got \[0, 1\]"),
        (object(), TypeError, "got <object"),
        (ClassTargets(torch.tensor([0, 1, 2])), ValueError, "3 targets for 2 images"),
        (ClassTargets(torch.tensor([0, 5])), IndexError, "out of range"),
        (FunctionTargets((torch.sum,) * 3), ValueError, "3 targets for 2 images"),
    ],
)
def test_what_is_no_class_of_each_image_is_named(given, error, words):
    with pytest.raises(error, match=words):
        resolve_targets(given, LOGITS, NAMES)


def test_names_need_a_model_that_has_each_once():
    with pytest.raises(TypeError, match="'2' is no class number, and this model names no classes"):
        resolve_targets(["2", "1"], LOGITS)
    with pytest.raises(ValueError, match=r"'ant' is the name of the classes \[0, 2\]"):
        resolve_targets("ant", LOGITS, ("ant", "bee", "ant"))
    with pytest.raises(ValueError, match="names 2 classes and gives 3 scores"):
        resolve_targets("ant", LOGITS, ("ant", "bee"))
    assert contrast(resolve_targets("ant", LOGITS, NAMES), "cat", LOGITS, NAMES).against.index.tolist() == [
        2,
        2,
    ]


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        ("all", [[0, 0], [1, 1], [2, 2]]),
        ([[0, 2], [1, 0]], [[0, 1], [2, 0]]),
        (((0, 2), (1, 0)), [[0, 1], [2, 0]]),
        (torch.tensor([[0, 2], [1, 0]]), [[0, 1], [2, 0]]),
        (np.array([[0, 2], [1, 0]]), [[0, 1], [2, 0]]),
        ([["ant", "cat"], [1, 0]], [[0, 1], [2, 0]]),
        ([[1], [2]], [[1, 2]]),
        ([1, 2], [[1, 2]]),
        ("cat", [[2, 2]]),
        (None, [[1, 0]]),
    ],
)
def test_several_classes_of_each_image_are_split(given, columns):
    found = split_targets(given, LOGITS, NAMES)
    assert [targets.index.tolist() for targets in found] == columns
    several = given is not None and (str(given) == "all" or np.asarray(given).ndim == 2)
    assert are_several(given) == several


@pytest.mark.parametrize(
    ("given", "names", "words"),
    [
        ([[0, 1], [2]], NAMES, r"equally many classes, at least one, got \[2, 1\]"),
        ([[], []], NAMES, "at least one"),
        ([[0, 1], 2], NAMES, r"got \[2, 1\]"),
        ([[0, 1]], NAMES, "1 targets for 2 images"),
        (torch.tensor([[0, 1, 2]]), NAMES, "1 targets for 2 images"),
        ("all", ("all", "bee", "cat"), 'is named "all"'),
    ],
)
def test_unequal_lists_and_a_class_named_all_are_named(given, names, words):
    with pytest.raises(ValueError, match=words):
        split_targets(given, LOGITS, names)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ({"config": SimpleNamespace(id2label={1: "bee", 0: "ant"})}, ("ant", "bee")),
        ({"config": SimpleNamespace(id2label={"0": "ant", "1": "bee"})}, ("ant", "bee")),
        ({"classes": ["ant", "bee"]}, ("ant", "bee")),
        ({"class_names": ("ant", "bee")}, ("ant", "bee")),
        ({"categories": {0: "ant", 1: "bee"}}, ("ant", "bee")),
        ({"config": SimpleNamespace(id2label={1: "bee", 5: "ant"})}, None),
        ({"classes": [1, 2]}, None),
        ({"classes": nn.Linear(2, 2)}, None),
        ({}, None),
    ],
)
def test_class_names_are_read_where_they_are_plain(held, expected):
    model = nn.Identity()
    for name, value in held.items():
        setattr(model, name, value)
    assert class_names_of(model) == expected


N = 4
FEATURES, SCORES, POOLED = torch.randn(N, 8), torch.randn(N, 3), torch.randn(N, 8, 2, 2)
Pair = namedtuple("Pair", "features scores")


@dataclass
class Output:
    scores: Tensor
    attention: tuple[Tensor, ...]


@pytest.mark.parametrize(
    ("output", "choice", "words"),
    [
        (SCORES, None, ""),
        ((SCORES,), None, ""),
        ((SCORES, None), None, ""),
        ({"predictions": SCORES}, None, ""),
        ((POOLED, SCORES), None, r"output\[1\] \(4, 3\), of 2"),
        ({"maps": [POOLED, POOLED], "predictions": SCORES}, None, r"output\['predictions'\]"),
        (Output(SCORES, (POOLED, torch.ones(N))), None, "output.scores"),
        ((SCORES, torch.ones(N, 3, dtype=torch.int64)), None, r"output\[0\]"),
        ((SCORES, torch.randn(7, 3)), None, r"output\[0\]"),
        (SimpleNamespace(logits=SCORES), None, ""),
        (OrderedDict(features=FEATURES, logits=SCORES), None, "logits"),
        (OrderedDict(out=SCORES, aux=FEATURES), None, "out"),
        ((FEATURES, SCORES), 1, "output 1"),
        ((FEATURES, SCORES), -1, "output 1"),
        ((FEATURES, SCORES), np.int64(1), "output 1"),
        ({"features": FEATURES, "scores": SCORES}, "scores", "'scores'"),
        ({"features": FEATURES, "scores": SCORES}, 1, "'scores'"),
        (Pair(FEATURES, SCORES), "scores", "'scores'"),
        ((FEATURES, {"logits": SCORES}), 1, "output 1"),
        ((FEATURES, SCORES), operator.itemgetter(1), "itemgetter"),
        ({"logits": FEATURES, "scores": SCORES}, "scores", "'scores'"),
    ],
)
def test_the_scores_are_found_among_several_outputs_and_the_route_says_which(output, choice, words):
    found, said = scores_in(output, N, choice)
    assert found is SCORES
    assert re.fullmatch(f".*{words}.*" if words else "", said)
    assert scores_in(output, N, choice)[0] is SCORES


@pytest.mark.parametrize(
    ("output", "choice", "error", "words"),
    [
        ((FEATURES, SCORES), None, ValueError, r"output\[0\] \(4, 8\), output\[1\] \(4, 3\).*output=1"),
        ({"a": FEATURES, "b": SCORES}, None, ValueError, r"output\['b'\].*output=\"key\""),
        ((POOLED, POOLED), None, ValueError, "2 tensors that could be the scores"),
        ((FEATURES, {"logits": SCORES}), None, ValueError, "2 tensors"),
        (tuple(FEATURES for _ in range(9)), None, ValueError, "and 3 more"),
        ([{"boxes": torch.rand(N, 4)}] * N, None, TypeError, "as detectors do"),
        ((torch.ones(N, dtype=torch.int64),), None, TypeError, "no scores were found"),
        ((torch.randn(3, 3), torch.randn(3)), None, TypeError, r"\(3, 3\), \(3,\)"),
        (None, None, TypeError, "NoneType, in which no scores"),
        ((FEATURES, SCORES), 2, ValueError, "output=2: the model returned tuple with 0, 1"),
        ({"a": FEATURES}, "b", ValueError, "dict with 'a'"),
        (SCORES, 1, ValueError, "Tensor with nothing to choose from"),
        ((FEATURES, SCORES), True, TypeError, "a position, a key or a function"),
        ((FEATURES, SCORES), len, TypeError, "must make a tensor"),
    ],
)
def test_where_the_scores_cannot_be_told_the_error_lists_what_there_is(output, choice, error, words):
    with pytest.raises(error, match="(?s)" + words) as caught:
        scores_in(output, N, choice)
    assert str(caught.value).count("\n") < 3


def test_one_detection_of_one_image_is_not_taken_for_its_scores():
    with pytest.raises(TypeError, match="as detectors do"):
        scores_in([{"boxes": torch.rand(1, 4), "scores": torch.rand(1)}], 1)


class Carrying(Tensor):
    """As MONAI's MetaTensor: a subclass that every operation passes on."""


def test_subclasses_are_stripped_and_share_memory():
    carried = SCORES.clone().as_subclass(Carrying)
    for given in (carried, nn.Parameter(SCORES.clone())):
        found = plain(given)
        assert type(found) is Tensor
        assert found.data_ptr() == given.data_ptr()
    assert type(scores_in((carried, None), N)[0]) is Tensor
    assert plain(SCORES) is SCORES
    monai = pytest.importorskip("monai.data")
    assert type(plain(monai.MetaTensor(SCORES))) is Tensor

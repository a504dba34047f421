"""``weighted_map`` on every backend against the float64 definition."""

import pytest
import torch

from tests.kernels.agreement import assert_agrees, double, runs
from xaimed_kernels.inputs import Activations
from xaimed_kernels.weighted_map import weighted_map
from xaimed_kernels.weighted_map.cases import CASES, Case

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.mark.parametrize(("case", "backend", "device"), runs(CASES))
def test_the_map_matches_the_definition(case: Case, backend: str, device: str) -> None:
    activations, weights = case.make(device)
    found = weighted_map(activations, weights, backend=backend)
    expected = weighted_map(double(activations), double(weights), backend="reference")
    assert_agrees(found, expected)
    assert bool(expected.any()) == (case.activations.content != "zero")


def test_the_definition_is_a_sum_over_channels() -> None:
    activations, weights = (x.double() for x in Case(Activations((2, 5, 3, 2))).make())
    found = weighted_map(activations, weights, backend="reference")
    for image, y, x in ((0, 0, 0), (0, 2, 1), (1, 1, 0)):
        total = sum(weights[image, k] * activations[image, k, y, x] for k in range(5))
        torch.testing.assert_close(found[image, y, x], total)


@pytest.mark.parametrize(
    ("activations", "weights", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), r"\[n, c, \*spatial\]"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(3), r"weights must be \(2, 3\) or \(2, 3, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, device="meta"), "move one"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(activations, weights, message) -> None:
    with pytest.raises(ValueError, match=message):
        weighted_map(activations, weights)

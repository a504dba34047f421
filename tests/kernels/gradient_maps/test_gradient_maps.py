"""``gradient_maps`` on every backend against the float64 definition, and the definition against loops."""

import numpy as np
import pytest
import torch

from tests.kernels.agreement import assert_agrees, double, runs
from xaimed_kernels.gradient_maps import Formula, GradientMaps, gradient_maps
from xaimed_kernels.gradient_maps.cases import CASES, FORMULAS, THREE, Case
from xaimed_kernels.inputs import Activations

pytestmark = pytest.mark.usefixtures("poisoned_memory")


def definition(activations: torch.Tensor, gradients: torch.Tensor, case: Case) -> GradientMaps:
    return gradient_maps(double(activations), double(gradients), case.formulas, backend="reference")


@pytest.mark.parametrize(("case", "backend", "device"), runs(CASES))
def test_maps_and_weights_match_the_definition(case: Case, backend: str, device: str) -> None:
    activations, gradients = case.make(device)
    found = gradient_maps(activations, gradients, case.formulas, backend=backend)
    expected = definition(activations, gradients, case)
    for i, formula in enumerate(case.formulas):
        assert_agrees(found.maps[i], expected.maps[i])
        assert (found.weights[i] is not None) == formula.per_channel
        if found.weights[i] is not None:
            assert_agrees(found.weights[i], expected.weights[i])


def test_cases_are_not_empty_where_their_content_is_not() -> None:
    for case in CASES:
        maps = gradient_maps(*case.make(), case.formulas, backend="reference").maps
        alive = case.activations.content != "zero"
        assert bool((maps != 0).flatten(1).any(1).any()) == alive, str(case)


def test_the_definition_is_the_formulas_written_in_loops() -> None:
    activations, gradients = (x.double() for x in Case(Activations((2, 6, 3, 2))).make())
    found = gradient_maps(activations, gradients - 0.3, list(FORMULAS.values()), backend="reference")
    for image in range(2):
        a, g = activations[image].numpy(), gradients[image].numpy() - 0.3
        expected = {name: np.zeros((3, 2)) for name in FORMULAS}
        for k in range(6):
            size = sum(abs(x) for x in a[k].flat)
            signed = sum(a[k].flat)
            mean = sum(g[k].flat) / 6
            ratio = (
                sum(x * y for x, y in zip(a[k].flat, g[k].flat, strict=True)) / signed
                if abs(signed) > 1e-6 * size
                else 0
            )
            nested = sum(y / (2 + abs(signed) * abs(y)) for y in g[k].flat if y > 0)
            for i, j in np.ndindex(3, 2):
                expected["mean"][i, j] += mean * a[k, i, j]
                expected["ratio"][i, j] += ratio * a[k, i, j]
                expected["nested"][i, j] += nested * a[k, i, j]
                expected["positive"][i, j] += max(g[k, i, j], 0) * a[k, i, j]
                expected["plain"][i, j] += g[k, i, j] * a[k, i, j]
        for row, name in enumerate(FORMULAS):
            np.testing.assert_allclose(found.maps[row, image].numpy(), expected[name], rtol=1e-12, atol=1e-14)


ONE = Case(Activations((3, 40, 3, 3)))


@pytest.mark.parametrize("spoilt", [0, 1], ids=["activation", "gradient"])
@pytest.mark.parametrize(("case", "backend", "device"), runs([ONE]))
def test_a_nan_stays_in_its_image(case: Case, backend: str, device: str, spoilt: int) -> None:
    activations, gradients = case.make(device)
    (activations, gradients)[spoilt][1, 3, 2, 2] = torch.nan
    maps = gradient_maps(activations, gradients, case.formulas, backend=backend).maps
    assert maps[:, 1].isnan().flatten(1).any(1).all()
    assert maps[:, [0, 2]].isfinite().all()


def unguarded(a, g, total, positions):
    return total(a * g) / total(a)


@pytest.mark.parametrize(("case", "backend", "device"), runs([ONE]))
def test_channels_that_do_not_exist_add_nothing_even_without_a_guard(
    case: Case, backend: str, device: str
) -> None:
    activations, gradients = case.make(device)
    formula = Formula("unguarded", unguarded, per_channel=True)
    found = gradient_maps(activations + 1, gradients, [formula], backend=backend)
    expected = gradient_maps(double(activations) + 1, double(gradients), [formula], backend="reference")
    assert_agrees(found.maps, expected.maps)


@pytest.mark.parametrize(
    ("activations", "gradients", "formulas", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), THREE, "must be \\[n, c, \\*spatial\\]"),
        (torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4), THREE, "nothing empty"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 1, 1), THREE, "expand_as"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), (), "no formula"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4, device="meta"), THREE, "move one"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(activations, gradients, formulas, message) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_maps(activations, gradients, formulas)


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"\.float\(\)"):
        gradient_maps(torch.ones(1, 1, 2, 2, dtype=torch.int32), torch.ones(1, 1, 2, 2), THREE)
    with pytest.raises(TypeError, match="floating-point"):
        gradient_maps(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.int32), THREE)

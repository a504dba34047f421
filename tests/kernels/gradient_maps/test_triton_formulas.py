"""What a formula's Python function may be to run on a GPU, and that an edited one is a new kernel."""

import pytest
import torch

from tests.kernels.agreement import assert_agrees
from xaimed_core import METHODS
from xaimed_core.methods import Reduction
from xaimed_core.semantics import GRAD_CAM_FORMULAS
from xaimed_kernels.gradient_maps import Formula, gradient_maps
from xaimed_kernels.gradient_maps.cases import CASES
from xaimed_kernels.launching import recording
from xaimed_kernels.offline import compile_offline

METHOD_FORMULAS = (
    *(method.kind.formula for method in METHODS.values() if isinstance(method.kind, Reduction)),
    *GRAD_CAM_FORMULAS.values(),
)
THRESHOLD = 0.25


def above(a, g, total, positions):
    return g * (g > THRESHOLD)


def everything(a, g, total, positions):
    middle = (a > 0.1) & (a <= 1) | (g == 0)
    size = total(a.abs() + g.relu())
    middle = middle * -g.sigmoid()
    return middle / (1 + size / positions)


EVERYTHING = Formula("everything", everything, per_channel=False)


def branching(a, g, total, positions):
    if positions > 4:
        return g
    return a


def with_factor(factor: float) -> Formula:
    def weights(a, g, total, positions):
        return factor * g

    return Formula("scaled", weights, per_channel=False)


@pytest.mark.usefixtures("triton_on_a_cpu")
def test_every_methods_formula_runs_as_a_kernel() -> None:
    assert len(METHOD_FORMULAS) >= 5
    a = torch.randn(2, 21, 3, 5, generator=torch.Generator().manual_seed(0)).relu()
    a[:, ::4] = 0
    g = torch.randn(2, 21, 3, 5, generator=torch.Generator().manual_seed(1)) * 1e-2
    found = gradient_maps(a, g, METHOD_FORMULAS, backend="triton")
    expected = gradient_maps(a.double(), g.double(), METHOD_FORMULAS, backend="reference")
    for row in range(len(METHOD_FORMULAS)):
        assert_agrees(found.maps[row], expected.maps[row])


@pytest.mark.usefixtures("triton_on_a_cpu")
def test_what_formulas_are_said_to_use_means_the_same_in_torch_and_triton() -> None:
    a, g = torch.randn(2, 2, 9, 3, 5, generator=torch.Generator().manual_seed(0))
    found = gradient_maps(a, g, [EVERYTHING], backend="triton")
    expected = gradient_maps(a.double(), g.double(), [EVERYTHING], backend="reference")
    assert expected.maps.abs().min() > 0
    assert_agrees(found.maps, expected.maps)


@pytest.mark.offline
def test_what_formulas_are_said_to_use_compiles() -> None:
    a = torch.empty(2, 9, 3, 5, device="meta")
    with recording() as launches:
        gradient_maps(a, a, [EVERYTHING], backend="triton")
    assert compile_offline(launches[0], 90).instructions > 0


@pytest.mark.usefixtures("triton_on_a_cpu")
def test_module_numbers_and_closures_reach_the_kernel() -> None:
    a, g = torch.ones(1, 2, 2, 2), torch.tensor([0.0, 0.2, 0.3, 1.0]).reshape(1, 1, 2, 2).repeat(1, 2, 1, 1)
    formulas = [Formula("above", above, per_channel=False), with_factor(2.0), with_factor(3.0)]
    maps = gradient_maps(a, g, formulas, backend="triton").maps.flatten(1)
    torch.testing.assert_close(maps[0], torch.tensor([0.0, 0.0, 0.6, 2.0]))
    torch.testing.assert_close(maps[1], torch.tensor([0.0, 0.8, 1.2, 4.0]))
    torch.testing.assert_close(maps[2], torch.tensor([0.0, 1.2, 1.8, 6.0]))


@pytest.mark.offline
def test_formulas_that_differ_in_a_number_alone_are_different_kernels() -> None:
    a = torch.empty(1, 2, 2, 2, device="meta")
    with recording() as launches:
        for factor in (2.0, 3.0, 2.0):
            gradient_maps(a, a, [with_factor(factor)], backend="triton")
    names = [launch.name for launch in launches]
    assert names[0] == names[2] != names[1]


@pytest.mark.offline
def test_what_triton_cannot_compile_is_refused_by_the_formulas_name() -> None:
    a = torch.empty(1, 2, 2, 2, device="meta")
    nameless = Formula("nameless", lambda a, g, total, positions: g, per_channel=False)
    with recording(), pytest.raises(ValueError, match=r"'nameless' cannot run on a GPU.*written with def"):
        gradient_maps(a, a, [nameless], backend="triton")


@pytest.mark.offline
def test_a_statement_that_has_no_pieces_is_refused_with_its_text() -> None:
    a = torch.empty(1, 2, 2, 2, device="meta")
    with recording(), pytest.raises(ValueError, match=r"'branching' cannot run on a GPU: 'if positions > 4"):
        gradient_maps(a, a, [Formula("branching", branching, per_channel=False)], backend="triton")


def test_cases_cover_every_layout_dtype_and_content() -> None:
    assert {case.activations.dtype for case in CASES} == {torch.float32, torch.bfloat16, torch.float16}
    assert {case.gradients for case in CASES} == {"contiguous", "channels_last", "expanded", "cropped"}

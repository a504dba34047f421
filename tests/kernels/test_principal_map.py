"""``principal_map`` on every backend against a float64 singular value decomposition."""

import pytest
import torch
from torch import Tensor

from tests.kernels.agreement import assert_agrees, double, runs
from xaimed_kernels.inputs import Activations
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.principal_map.cases import CASES, Case
from xaimed_kernels.principal_map.cpu import top_eigenvectors

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.mark.parametrize(("case", "backend", "device"), runs(CASES))
def test_the_map_matches_the_definition(case: Case, backend: str, device: str) -> None:
    activations, weights = case.make(device)
    found = principal_map(activations, weights, backend=backend)
    expected = principal_map(double(activations), double(weights), backend="reference")
    # centring costs the digits that the offset takes
    assert_agrees(found, expected, budget=1e-5 * max(1.0, case.offset / 10))


def test_cases_separate_the_first_two_singular_values() -> None:
    for case in CASES:
        activations, weights = case.make()
        x = activations.double() if weights is None else activations.double() * _like(weights, activations)
        x = x.flatten(2) - x.flatten(2).mean(2, keepdim=True)
        values = torch.linalg.svdvals(x) ** 2
        if values.shape[1] > 1 and x.shape[2] > 1:
            assert (values[:, 1] < 0.6 * values[:, 0]).all(), str(case)


@pytest.mark.parametrize(("case", "backend", "device"), runs([Case(Activations((2, 20, 3, 2)))]))
def test_the_sign_agrees_with_the_evidence(case: Case, backend: str, device: str) -> None:
    activations, weights = case.make(device)
    found = principal_map(activations, weights, backend=backend)
    evidence = (activations * weights).sum(1)
    assert ((found * evidence).flatten(1).sum(1) > 0).all()
    turned = principal_map(activations, -weights, backend=backend)
    torch.testing.assert_close(turned, -found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("case", "backend", "device"), runs([Case(Activations((1, 2, 1, 3)), "none")]))
def test_without_evidence_the_larger_side_is_positive(case: Case, backend: str, device: str) -> None:
    pattern = torch.tensor([-5.0, 1.0, 4.0])
    activations = torch.stack([pattern, -pattern]).reshape(1, 2, 1, 3).to(device)
    assert activations.sum(1).eq(0).all()
    found = principal_map(activations, backend=backend).flatten().cpu()
    torch.testing.assert_close(found, torch.tensor([5.0, -1.0, -4.0]) * 2**0.5)


FLAT_SHAPES = [(2, 9, 1, 1), (2, 9, 5, 4), (1, 70, 1), (2, 7, 11), (3, 20, 3, 1, 2), (1, 70, 9, 9)]


@pytest.mark.parametrize("weighting", ["none", "n c", "n c s"])
@pytest.mark.parametrize(
    ("case", "backend", "device"), runs([Case(Activations(shape)) for shape in FLAT_SHAPES], reference=True)
)
def test_a_map_of_one_position_or_of_positions_all_alike_is_exactly_zero(
    case: Case, backend: str, device: str, weighting: str
) -> None:
    shape = case.activations.shape
    drawn = torch.randn(2, *shape[:2], generator=torch.Generator().manual_seed(0)).to(device)
    slow = backend == "triton" and device == "cpu"
    for scale in (1 / 3, 1e12) if slow else (0.0, 1e-20, 1.0, 1 / 3, 1e12):
        values, factors = drawn.reshape(2, *shape[:2], *[1] * len(shape[2:])).expand(2, *shape)
        weights = {"none": None, "n c": drawn[1], "n c s": factors.contiguous()}[weighting]
        for activations in (values * scale, (values * scale).contiguous()):
            assert principal_map(activations, weights, backend=backend).eq(0).all()


@pytest.mark.parametrize(
    ("case", "backend", "device"),
    runs([Case(Activations((2, 20, 3, 3))), Case(Activations((2, 20, 7, 5)))], reference=True),
)
def test_a_constant_channel_of_any_size_changes_no_map(case: Case, backend: str, device: str) -> None:
    activations, weights = case.make(device)
    activations[:, 7], weights[:, 7] = 0.1, 1.0
    expected = principal_map(activations.cpu().double(), weights.cpu().double(), backend="reference")
    for value in (1e5, 1e8, 1e15):
        activations[:, 7], weights[:, 7] = value / 7, value / 3
        found = principal_map(activations, weights, backend=backend).cpu().double()
        same_side = torch.where((found * expected).flatten(1).sum(1) > 0, 1.0, -1.0)
        found = found * same_side[:, None, None]  # the sign is the evidence's, which such a channel drowns
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize(
    ("case", "backend", "device"), runs([Case(Activations((3, 20, 3, 2))), Case(Activations((3, 4, 3, 2)))])
)
def test_an_image_that_is_not_finite_gets_a_map_of_nan_alone(case: Case, backend: str, device: str) -> None:
    activations, weights = case.make(device)
    activations[0, 1, 2, 1], activations[2, 0, 0, 0] = torch.nan, torch.inf
    found = principal_map(activations, weights, backend=backend)
    assert found[[0, 2]].isnan().all()
    clean = principal_map(activations[[1]], weights[[1]], backend=backend)
    torch.testing.assert_close(found[[1]], clean, rtol=1e-5, atol=1e-5)


def two_blocks() -> Tensor:
    """The largest diagonal entry and the largest eigenvalue in blocks that no product connects."""
    block = torch.zeros(100, 100)
    block[0, 0] = 10.0
    block[1:, 1:] = 0.5
    return block


def gapless() -> Tensor:
    return torch.eye(100)


def of_rank_two() -> Tensor:
    columns = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    return columns @ columns.T


def nearly_tied() -> Tensor:
    basis = torch.linalg.qr(torch.randn(100, 100, generator=torch.Generator().manual_seed(0)))[0]
    return basis @ torch.diag(torch.linspace(0.98, 0.0, 100).index_fill(0, torch.tensor([0]), 1.0)) @ basis.T


def on_the_cpu(grams: Tensor) -> Tensor:
    return top_eigenvectors(grams)


def in_triton(grams: Tensor) -> Tensor:
    from xaimed_kernels.principal_map.launch import top_eigenvectors_triton

    missing = -grams.shape[-1] % 16
    padded = torch.nn.functional.pad(grams, (0, missing, 0, missing)).contiguous()
    return top_eigenvectors_triton(padded, grams.shape[-1])[0]


@pytest.mark.usefixtures("triton_on_a_cpu")
def test_vectors_too_large_for_registers_are_found_alike(monkeypatch) -> None:
    in_memory = in_triton(two_blocks()[None])
    monkeypatch.setattr("xaimed_kernels.principal_map.launch.LARGEST_HELD", 128)
    in_registers = in_triton(two_blocks()[None])
    torch.testing.assert_close(in_memory, in_registers, rtol=0, atol=1e-5)


@pytest.mark.parametrize("matrix", [two_blocks, gapless, of_rank_two, nearly_tied], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "solve",
    [on_the_cpu, *(pytest.param(in_triton, marks=mark) for mark in (pytest.mark.interpret, pytest.mark.ptx))],
    ids=["cpu", "interpreter", "ptx"],
)
def test_the_largest_eigenvalue_is_found_in_awkward_matrices(solve, matrix) -> None:
    gram = matrix()
    vector = solve(gram.unsqueeze(0))[0].double()
    largest = torch.linalg.eigvalsh(gram.double())[-1]
    assert abs(vector.norm() - 1) < 1e-5
    assert vector @ gram.double() @ vector > (1 - 1e-5) * largest


def _like(weights: Tensor, activations: Tensor) -> Tensor:
    return weights.double().reshape(*weights.shape, *[1] * (activations.ndim - weights.ndim))

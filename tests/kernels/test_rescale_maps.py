"""``rescale_maps`` on every backend against the float64 definition, and that against NumPy and OpenCV's rule."""

import numpy as np
import pytest
import torch

from tests.kernels.agreement import BUDGET, INTERPRETED, runs
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_kernels.rescale_maps.cases import CASES, GRAD_CAM_EPS, Case

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.mark.parametrize(("case", "backend", "device"), runs(CASES))
def test_maps_and_flags_match_the_definition(case: Case, backend: str, device: str) -> None:
    raws = case.make(device)
    found = rescale_maps(raws, case.size, eps=case.eps, backend=backend)
    expected = rescale_maps(
        [raw.cpu().double() for raw in raws], case.size, eps=case.eps, backend="reference"
    )
    assert torch.equal(found.empty.cpu(), expected.empty)
    assert torch.equal(found.finite.cpu(), expected.finite)
    assert found.maps.dtype == torch.float32
    torch.testing.assert_close(found.maps.cpu().double(), expected.maps, rtol=0, atol=BUDGET, equal_nan=True)
    finite = found.maps[found.finite]
    assert finite.min() >= 0
    assert finite.max() <= 1


@pytest.mark.ptx
def test_tiles_that_are_no_power_of_two() -> None:
    """Three, of maps whose smallest values are not 0 and differ: beyond the interpreter, not the emulator."""
    raws = [1 + torch.rand(5, side, side, generator=torch.Generator().manual_seed(side)) for side in (7, 14)]
    found = rescale_maps(raws, (50, 50), backend="triton")
    expected = rescale_maps([raw.double() for raw in raws], (50, 50), backend="reference")
    torch.testing.assert_close(found.maps.double(), expected.maps, rtol=0, atol=BUDGET)


@pytest.mark.parametrize(("case", "backend", "device"), runs([Case(((7, 7),), (40, 31))]))
def test_the_flags_say_which_maps_say_nothing(case: Case, backend: str, device: str) -> None:
    found = rescale_maps(case.make(device), case.size, backend=backend)
    assert found.empty.tolist() == [False, True, True, False, False, False, False]
    assert found.finite.tolist() == [True, True, True, False, False, True, True]
    assert found.maps[[1, 2]].eq(0).all()
    assert found.maps[[3, 4]].isnan().all()
    peaks = found.maps[[0, 5, 6]].amax((1, 2)).cpu()
    torch.testing.assert_close(peaks, torch.ones(3))  # the tiny map 5 too: the definition has no unit


def constants() -> torch.Tensor:
    """Random floats of every size, and the ends of the scale: ``[n]``."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(24, generator=generator), 10 ** torch.empty(24).uniform_(-44, 38, generator=generator)
    ends = torch.tensor([0.0, 0.1, 1 / 3, 3.4e38, 1.2e-38, 1e-45, -0.0, -0.7, -3.4e38, -1e-45])
    return torch.cat([*drawn, ends, 3 + torch.arange(8) * 2**-22])


BY_BACKEND = [
    pytest.param("cpu", "cpu", id="cpu"),
    pytest.param("reference", "cpu", id="reference"),
    pytest.param("triton", "cpu", id="interpreter", marks=INTERPRETED),
    pytest.param("triton", "cpu", id="ptx", marks=pytest.mark.ptx),
    pytest.param("triton", "cuda", id="gpu", marks=pytest.mark.gpu),
]
RESIZES = [
    ((1,), (7,)), ((9,), (4,)), ((5,), (31,)),
    ((1, 1), (5, 4)), ((2, 3), (7, 5)), ((7, 7), (33, 31)), ((6, 5), (2, 9)), ((3, 4), (3, 4)), ((1, 9), (6, 1)),
    ((1, 1, 1), (2, 3, 4)), ((3, 2, 4), (5, 6, 7)),
]  # fmt: skip


@pytest.mark.parametrize("eps", [0.0, GRAD_CAM_EPS])
@pytest.mark.parametrize(("sides", "size"), RESIZES, ids=str)
@pytest.mark.parametrize(("backend", "device"), BY_BACKEND)
def test_a_constant_map_of_any_value_and_size_is_empty(backend, device, sides, size, eps) -> None:
    values = constants()[:: 5 if backend == "triton" and device == "cpu" else 1]
    raw = values.to(device).reshape(-1, *[1] * len(sides)).expand(-1, *sides)
    for layers in ([raw], [raw, raw.flip(0)]):
        found = rescale_maps(layers, size, eps=eps, backend=backend)
        assert found.maps.shape == (len(raw), *size)
        assert found.maps.eq(0).all()
        assert found.empty.all()
        assert found.finite.all()


@pytest.mark.parametrize(("sides", "size"), RESIZES, ids=str)
@pytest.mark.parametrize(("backend", "device"), BY_BACKEND)
def test_a_nearly_constant_map_is_shown_as_it_is(backend, device, sides, size) -> None:
    """Last digits of 3 and of 0.3 are a map as any other: the float64 definition of the same float32 values."""
    steps = torch.randint(0, 5, (2, 6, *sides), generator=torch.Generator().manual_seed(1))
    raw = torch.cat([3 + steps[0] * 2**-22, (0.3 + steps[1] * 2**-25)]).float().to(device)
    found = rescale_maps(raw, size, backend=backend)
    expected = rescale_maps(raw.cpu().double(), size, backend="reference")
    torch.testing.assert_close(found.maps.cpu().double(), expected.maps, rtol=0, atol=BUDGET)
    assert torch.equal(found.empty.cpu(), expected.empty)


@pytest.mark.parametrize(("backend", "device"), BY_BACKEND)
def test_maps_that_cancel_are_empty_and_not_their_rounding(backend, device) -> None:
    """A map and its complement have a constant mean, and a chequered map a constant middle."""
    ramp = torch.rand(16, 6, 7, generator=torch.Generator().manual_seed(0)).to(device)
    ramp = (ramp * 2**20).round() / 2**20  # 1 - ramp is exact
    ramp[:, 0, 0], ramp[:, -1, -1] = 0, 1
    chequered = torch.tensor([[0.0, 0.7, 0.3], [0.7, 0.0, 0.4]], device=device)[None]
    for layers, size in (([ramp, 1 - ramp], (29, 31)), ([chequered], (1, 9))):
        assert rescale_maps(layers, size, backend=backend).empty.all()


@pytest.mark.parametrize(("sides", "size"), RESIZES, ids=str)
@pytest.mark.parametrize(("backend", "device"), BY_BACKEND)
def test_what_is_not_finite_in_one_image_changes_no_bit_of_the_others(backend, device, sides, size) -> None:
    raw = torch.randn(7, *sides, generator=torch.Generator().manual_seed(2)).to(device)
    raw[5] = 2.5
    expected = rescale_maps([raw, raw * 2], size, backend=backend)
    broken = raw.clone()
    broken[0].view(-1)[0], broken[3], broken[6].view(-1)[-1] = torch.nan, torch.inf, -torch.inf
    sound = [1, 2, 4, 5]
    for layers in ([broken, raw * 2], [raw, broken * 2]):
        found = rescale_maps(layers, size, backend=backend)
        assert torch.equal(found.maps[sound], expected.maps[sound])
        assert torch.equal(found.empty[sound], expected.empty[sound])
        assert found.finite.tolist() == [False, True, True, False, True, True, False]
        assert not found.empty[[0, 3, 6]].any()
        assert found.maps[[0, 3, 6]].isnan().all()


@pytest.mark.parametrize(
    ("case", "backend", "device"),
    runs(
        [Case((sides,), size, images=16, special=False) for sides, size in (
            ((7, 7), (28, 35)), ((7, 7), (33, 31)), ((6, 5), (29, 17)), ((3, 14), (40, 41)), ((5, 9), (11, 40)),
        )]
    ),
)  # fmt: skip
def test_no_extreme_pixel_is_overlooked(case: Case, backend: str, device: str) -> None:
    """On a GPU they are looked for where sources meet alone; a pixel missed would stretch the map."""
    raws = case.make(device)
    found = rescale_maps(raws, case.size, backend=backend)
    expected = rescale_maps([raw.cpu().double() for raw in raws], case.size, backend="reference")
    torch.testing.assert_close(found.maps.cpu().double(), expected.maps, rtol=0, atol=2e-6)
    assert found.maps.amax((1, 2)).eq(1).all()


@pytest.mark.parametrize(("case", "backend", "device"), runs([Case(((7, 7),), (40, 31), eps=GRAD_CAM_EPS)]))
def test_eps_keeps_a_tiny_map_tiny(case: Case, backend: str, device: str) -> None:
    found = rescale_maps(case.make(device), case.size, eps=case.eps, backend=backend)
    assert found.maps[5].max() < 1e-5
    assert not found.empty[5]


def test_the_definition_is_grad_cams_arithmetic_written_in_loops() -> None:
    raws = [raw[[0, 6]].double() for raw in Case(((3, 4), (5, 2)), (7, 6)).make()]
    found = rescale_maps(raws, (7, 6), eps=GRAD_CAM_EPS, backend="reference")
    for image in range(2):
        layers = [resized(scaled(np.maximum(raw[image].numpy(), 0)), 7, 6) for raw in raws]
        expected = scaled(np.mean(layers, axis=0))
        np.testing.assert_allclose(found.maps[image].numpy(), expected, rtol=0, atol=1e-12)


def scaled(values: np.ndarray) -> np.ndarray:
    shifted = values - values.min()
    return shifted / (GRAD_CAM_EPS + shifted.max())


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, borders repeated: OpenCV's INTER_LINEAR."""
    padded = np.pad(values, 1, mode="edge")
    out = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        v = (y + 0.5) * values.shape[0] / height + 0.5
        u = (x + 0.5) * values.shape[1] / width + 0.5
        i, j = int(v), int(u)
        for di, dj in np.ndindex(2, 2):
            out[y, x] += padded[i + di, j + dj] * abs(1 - di - (v - i)) * abs(1 - dj - (u - j))
    return out


def test_the_loops_resize_as_opencv_does() -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    values = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    np.testing.assert_allclose(resized(values, 9, 11), cv2.resize(values, (11, 9)), atol=1e-6)


@pytest.mark.parametrize(
    ("raws", "size", "eps", "message"),
    [
        ([], (4, 4), 0.0, "no raw map"),
        (torch.zeros(4), (4, 4), 0.0, r"\[n, l\], \[n, h, w\]"),
        ([torch.zeros(2, 4, 4), torch.zeros(3, 4, 4)], (4, 4), 0.0, "every layer needs 2 maps"),
        ([torch.zeros(2, 4, 4), torch.zeros(2, 4, 4).double()], (4, 4), 0.0, "every layer must be"),
        (torch.zeros(2, 4, 4), (4,), 0.0, "size must be 2 positive numbers"),
        (torch.zeros(2, 4, 4), (4, 0), 0.0, "size must be 2 positive numbers"),
        (torch.zeros(2, 4, 4), (4, 4), -1.0, "eps must be"),
        (torch.zeros(2, 4, 4), (4, 4), float("nan"), "eps must be"),
        (torch.zeros(2, 4), (4, 4), 0.0, "size must be 1 positive numbers"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy(raws, size, eps, message) -> None:
    with pytest.raises(ValueError, match=message):
        rescale_maps(raws, size, eps=eps)

"""The Triton path: in the interpreter on small images, on a GPU on all of them."""

import pytest
import torch

from xaimed_kernels import launching
from xaimed_kernels.impute import impute
from xaimed_kernels.impute.cases import FAMILIES, SHAPES, image, mask
from xaimed_kernels.impute.launch import impute_triton
from xaimed_kernels.impute.scratch import allocate, lay_out

TOL = 1e-4
SMALL = [
    ("cam, 20% kept", 12, 11),
    pytest.param("two neighbours", 1, 40, marks=pytest.mark.nightly),
    ("scattered, 50% kept", 2, 9),
    pytest.param("frame", 17, 20, marks=pytest.mark.nightly),
]
"""Direct after one level, a single row, two rows, and three levels. The interpreter takes longest for those that are
nightly; executed as PTX they belong to every run."""


def pair(family, height, width, device="cpu", channels=1):
    pictures = torch.stack([image(height, width, channels=channels, seed=s) for s in (0, 1)]).to(device)
    keep = torch.stack([mask(family, height, width, seed=s) for s in (0, 1)]).to(device)
    return pictures, keep


def compare(family, height, width, device, channels=1):
    """Triton against the CPU path, which is tested against the definition, and against that itself."""
    pictures, keep = pair(family, height, width, device, channels)
    triton = impute(pictures, keep, tol=TOL, details=True, backend="triton")
    cpu = impute(pictures.cpu(), keep.cpu(), tol=TOL, details=True)
    exact = impute(pictures.cpu().double(), keep.cpu(), backend="reference")
    spread = (pictures.amax() - pictures.amin()).item()
    assert triton.error.max() <= TOL
    assert (triton.images.cpu().double() - exact).abs().max() <= TOL * spread
    assert (triton.images.cpu() - cpu.images).abs().max() <= 2e-5 * spread
    assert (triton.cycles.cpu() - cpu.cycles).abs().max() <= 1
    kept = keep[:, None].expand_as(pictures)
    assert torch.equal(triton.images[kept], pictures[kept])


@pytest.mark.usefixtures("triton_on_a_cpu")
@pytest.mark.parametrize(("family", "height", "width"), SMALL)
def test_kernels_fill_as_the_cpu_does(family, height, width, monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 4)  # idle cycles take as long here
    compare(family, height, width, "cpu")


@pytest.mark.nightly
@pytest.mark.usefixtures("triton_on_a_cpu")
def test_large_grids_take_a_launch_per_step(monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 3)
    monkeypatch.setattr("xaimed_kernels.impute.launch.SMALL", 100)
    compare("cam, 50% kept", 22, 19, "cpu")


@pytest.mark.usefixtures("triton_on_a_cpu")
def test_what_needs_no_solution_and_what_has_none_is_told(monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 3)
    pictures, keep = pair("cam, 50% kept", 6, 5)
    keep[0] = True
    keep[1] = False
    result = impute(pictures, keep, details=True, backend="triton")
    assert torch.equal(result.images[0], pictures[0])
    assert (result.images[1] == 0).all()
    assert result.unreached.tolist() == [False, True]
    assert (result.cycles == 0).all()
    assert (result.error == 0).all()
    pictures[0, 0, 2, 3] = torch.nan
    with pytest.raises(ValueError, match="image 0, channel 0 has kept pixels that are not finite"):
        impute(pictures, keep, backend="triton")


@pytest.mark.usefixtures("triton_on_a_cpu")
def test_planes_that_are_done_stay_as_they_are(monkeypatch):
    """One image is constant and done before the first cycle, one after two, one later."""
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 5)
    pictures = torch.stack([image(9, 12, channels=1), torch.full((1, 9, 12), 2.5), image(9, 12, channels=1)])
    families = ("checkerboard", "frame", "two opposite corners")
    keep = torch.stack([mask(family, 9, 12) for family in families])
    result = impute(pictures, keep, tol=1e-6, details=True, backend="triton")
    exact = impute(pictures.double(), keep, backend="reference")
    assert len(set(result.cycles.flatten().tolist())) == 3
    assert (result.images - exact).abs().max() < 2e-5


@pytest.mark.usefixtures("triton_on_a_cpu")
@pytest.mark.parametrize(("family", "height", "width"), SMALL)
def test_kernels_refine_in_float64(family, height, width, monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_REFINING_CYCLES", 9)
    pictures, keep = pair(family, height, width)
    exact = impute(pictures.double(), keep, backend="reference")
    refined = impute(pictures.double(), keep, tol=1e-9, details=True, backend="triton")
    assert refined.images.dtype == torch.float64
    assert refined.error.max() <= 1e-9
    assert (refined.images - exact).abs().max() <= 1e-9 * (pictures.amax() - pictures.amin())
    assert torch.equal(impute(pictures, keep, tol=1e-9, backend="triton"), refined.images.float())


@pytest.mark.usefixtures("triton_on_a_cpu")
def test_where_float32_stalls_the_solution_is_refined_and_only_then_refused(monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", 1)
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_REFINING_CYCLES", 4)
    pictures, keep = pair("cam, 20% kept", 12, 11)
    result = impute(pictures, keep, tol=TOL, details=True, backend="triton")
    exact = impute(pictures.double(), keep, backend="reference")
    assert result.cycles.min() > 1
    assert (result.images - exact).abs().max() <= TOL * (pictures.amax() - pictures.amin())
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_REFINING_CYCLES", 2)
    with pytest.raises(RuntimeError, match="after 2 cycles"):
        impute(pictures, keep, tol=1e-9, backend="triton")


@pytest.mark.gpu
def test_a_gpu_refines_in_float64():
    for family in FAMILIES:
        pictures, keep = pair(family, 97, 128, "cuda", channels=3)
        refined = impute(pictures.double(), keep, tol=1e-9, details=True)
        exact = impute(pictures.double(), keep, backend="reference")
        assert refined.error.max() <= 1e-9
        assert (refined.images - exact).abs().max() <= 2e-9 * (pictures.amax() - pictures.amin()), family


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_hole_is_filled_on_a_gpu(family):
    for height, width in SHAPES:
        compare(family, height, width, "cuda", channels=3)


@pytest.mark.gpu
def test_a_cuda_graph_can_hold_the_imputation():
    pictures, keep = pair("cam, 20% kept", 224, 224, "cuda", channels=3)
    expected = impute(pictures, keep, details=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = impute(pictures, keep, details=True)
    pictures.copy_(pictures.flip(0))
    keep.copy_(keep.flip(0))
    graph.replay()
    assert torch.equal(captured.images, expected.images.flip(0))
    assert torch.equal(captured.error, expected.error.flip(0))


@pytest.mark.gpu
def test_large_images_are_filled_on_a_gpu():
    compare("spiral of 7 turns", 512, 512, "cuda", channels=3)


def test_memory_on_a_gpu_is_linear_in_the_systems():
    """Bytes of scratch for a pixel and channel (of 3), whatever the number of systems."""
    for side, constant in ((224, 23.6), (512, 21.5)):
        for n in (1, 2, 7):
            keep = torch.empty(n, 2, side, side, dtype=torch.bool, device="meta")
            work = allocate(torch.empty(n, 3, side, side, device="meta"), keep)
            arrays = (work.keep, work.relax, work.u[0], work.coarse[0], work.planes, work.inverse)
            held = sum(array.untyped_storage().nbytes() for array in arrays)
            assert constant - 0.1 < held / (n * 2 * 3 * side**2) < constant


@pytest.mark.parametrize(
    "sides", [(224, 224), (1, 1), (1, 40), (999, 1), (2, 2), (33, 200), (31, 30)], ids=str
)
def test_grids_lie_apart_with_three_rows_of_zeros_around_each(sides):
    image_grid, *coarser = lay_out(*sides)
    assert image_grid.shape == sides
    for arrays in ([image_grid], coarser):
        zeros = arrays[0].start
        for grid in arrays:
            assert grid.start % 4 == grid.stride % 4 == 0
            assert grid.width < grid.stride <= grid.width + 4
            assert min(zeros, grid.end - grid.start - grid.line) >= 3 * grid.stride + 4
            assert grid.line >= grid.height * grid.stride
            zeros = grid.end - grid.start - grid.line


@pytest.mark.usefixtures("triton_on_a_cpu")
@pytest.mark.parametrize(("most", "looks"), [(9, 1), (3, 0)])
def test_the_host_looks_once_and_goes_on_only_if_it_must(most, looks, monkeypatch):
    """Two cycles are enough: launches end with the look. One that leaves the error above tol goes on to the last."""
    seen = []
    monkeypatch.setattr("xaimed_kernels.impute.launch.MOST_CYCLES", most)
    monkeypatch.setattr("xaimed_kernels.impute.launch.USUAL_CYCLES", 3)
    pictures, keep = pair("checkerboard", 5, 6)

    def judged(kernel, programs, *arguments, **settings):
        seen.append(kernel.__name__)
        return launching.launch(kernel, programs, *arguments, **settings)

    monkeypatch.setattr("xaimed_kernels.impute.launch.launch", judged)
    filled = impute_triton(pictures, keep[:, None], TOL, watched=True)
    assert filled.settled == bool(looks)
    assert (seen.count("judge_kernel"), seen.count("store_kernel")) == (3, 1)
    impute_triton(pictures, keep[:, None], 1e-9, watched=True)
    assert (seen.count("judge_kernel"), seen.count("store_kernel")) == (3 + most, 2 + looks)
    impute_triton(pictures, keep[:, None], TOL)
    assert (seen.count("judge_kernel"), seen.count("store_kernel")) == (3 + 2 * most, 3 + looks)

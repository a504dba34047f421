"""What `impute` takes, gives and refuses, and what it costs."""

import math
import time

import pytest
import torch

from tests.kernels.impute.definition import TOL, exact, one
from xaimed_bench.measure.memory import peak_above_resident
from xaimed_kernels.impute import SMALLEST_TOL, Imputation, impute
from xaimed_kernels.impute.cases import image, mask, swept_bytes
from xaimed_kernels.impute.reference import residual, solve


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_dtype_and_channel_count_is_filled(dtype):
    keep = mask("cam, 50% kept", 40, 33)
    for channels in (1, 2, 5):
        picture = image(40, 33, channels=channels).to(dtype)
        filled = impute(picture[None], keep[None])[0]
        expected = torch.from_numpy(solve(picture.double().numpy(), keep.numpy()))
        assert filled.dtype == dtype
        assert torch.equal(filled[:, keep], picture[:, keep])
        rounding = torch.finfo(dtype).eps * expected.abs().max() / 2
        assert (filled.double() - expected).abs().max() <= TOL * (picture.max() - picture.min()) + rounding


def test_masks_share_an_image_and_a_batch_changes_no_bit():
    pictures = torch.stack([image(40, 52, seed=s) for s in range(3)])
    families = ["cam, 20% kept", "scattered, 10% kept"]
    keep = torch.stack([torch.stack([mask(f, 40, 52, seed=s) for f in families]) for s in range(3)])
    together = impute(pictures, keep, details=True)
    assert together.images.shape == (3, 2, 3, 40, 52)
    assert together.cycles.shape == together.error.shape == together.residual.shape == (3, 2, 3)
    assert together.unreached.shape == (3, 2)
    for i in range(3):
        for j in range(2):
            alone = impute(pictures[i : i + 1], keep[i : i + 1, j], details=True)
            assert torch.equal(alone.images[0], together.images[i, j])
            assert torch.equal(alone.error[0], together.error[i, j])


def test_threads_change_no_bit():
    pictures, keep = image(64, 64)[None], mask("cam, 20% kept", 64, 64)[None]
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(impute(pictures, keep))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_any_layout_and_a_gradient_are_taken():
    picture, keep = image(20, 24)[None], mask("cam, 50% kept", 20, 24)[None]
    expected = impute(picture, keep)
    strided = picture.to(memory_format=torch.channels_last).requires_grad_()
    filled = impute(strided, keep.transpose(1, 2).contiguous().transpose(1, 2))
    assert torch.equal(filled, expected)
    assert not filled.requires_grad


def test_noise_is_seeded_and_falls_on_removed_pixels_alone():
    picture, keep = image(64, 64)[None], mask("cam, 20% kept", 64, 64)[None]
    seeded = [impute(picture, keep, noise=0.1, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*seeded)
    added = seeded[0] - impute(picture, keep)
    assert (added[:, :, keep[0]] == 0).all()
    drawn = added[:, :, ~keep[0]]
    assert drawn.std().item() == pytest.approx(0.1, rel=0.03)
    assert abs(drawn.mean().item()) < 3e-3
    state = torch.get_rng_state()
    impute(picture, keep)
    assert torch.equal(state, torch.get_rng_state())


def test_noise_may_differ_by_channel():
    picture, keep = image(64, 64)[None], mask("cam, 20% kept", 64, 64)[None]
    spreads = torch.tensor([0.0, 0.1, 0.5])
    noisy = impute(picture, keep, noise=spreads, generator=torch.Generator().manual_seed(0))
    drawn = (noisy - impute(picture, keep))[0][:, ~keep[0]].std(1)
    assert drawn[0] == 0
    assert drawn[1:].tolist() == pytest.approx([0.1, 0.5], rel=0.05)


def test_details_hold_the_residual_of_the_definition():
    result = one("frame", 48, 40)
    assert isinstance(result, Imputation)
    keep = mask("frame", 48, 40)
    left = residual(result.images[None].double(), keep[None, None])[0, 0].abs().amax((1, 2))
    _, spread = exact("frame", 48, 40)
    assert torch.allclose(result.residual[0].double(), left / spread, rtol=1e-2, atol=1e-6)
    assert (result.cycles >= 1).all()


def test_all_kept_returns_the_image_and_solves_nothing():
    picture = image(9, 8)[None]
    result = impute(picture, torch.ones(1, 9, 8, dtype=torch.bool), details=True)
    assert torch.equal(result.images, picture)
    assert (result.cycles == 0).all()
    assert not result.unreached.any()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_none_kept_gives_zeros_and_says_so(backend):
    keep = torch.ones(2, 9, 8, dtype=torch.bool)
    keep[1] = False
    result = impute(torch.stack([image(9, 8), image(9, 8, seed=1)]), keep, details=True, backend=backend)
    assert result.unreached.tolist() == [False, True]
    assert (result.images[1] == 0).all()
    assert (result.error == 0).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named_where_kept_and_ignored_where_removed(backend, value):
    pictures, keep = (
        torch.stack([image(9, 8, seed=s) for s in range(3)]),
        torch.ones(3, 9, 8, dtype=torch.bool),
    )
    keep[:, 4:6, 3:5] = False
    expected = impute(pictures, keep, backend=backend)
    pictures[1, 2, 5, 4] = value
    assert torch.equal(impute(pictures, keep, backend=backend), expected)
    pictures[1, 2, 0, 0] = value
    with pytest.raises(ValueError, match="image 1, channel 2 has kept pixels that are not finite"):
        impute(pictures, keep, backend=backend)


def test_what_does_not_converge_is_an_error(monkeypatch):
    for name in ("MOST_CYCLES", "MOST_REFINING_CYCLES"):
        monkeypatch.setattr(f"xaimed_kernels.impute.cpu.{name}", 2)
    with pytest.raises(RuntimeError, match=r"more than tol=0.0001, after 2 cycles"):
        one("two neighbours", 64, 64)
    with pytest.raises(RuntimeError, match=r"more than tol=1e-12, after 2 cycles"):
        one("two neighbours", 64, 64, tol=SMALLEST_TOL)


@pytest.mark.parametrize(
    ("images", "keep", "options", "error", "says"),
    [
        ((2, 3, 8, 8), (2, 8, 9), {}, ValueError, r"keep must be \[2, 8, 8\] or \[2, p, 8, 8\]"),
        ((2, 3, 8, 8), (1, 8, 8), {}, ValueError, "keep must be"),
        ((2, 3, 8, 8), (2, 0, 8, 8), {}, ValueError, "keep must be"),
        ((2, 3, 8, 8), (8, 8), {}, ValueError, "keep must be"),
        ((0, 3, 8, 8), (0, 8, 8), {}, ValueError, "nothing empty"),
        ((3, 8, 8), (3, 8, 8), {}, ValueError, r"images must be \[n, c, h, w\]"),
        ((1, 3, 8, 8), (1, 8, 8), {"tol": 0.0}, ValueError, "tol must be at least 1e-12"),
        ((1, 3, 8, 8), (1, 8, 8), {"tol": 1.0}, ValueError, "below 1"),
        ((1, 3, 8, 8), (1, 8, 8), {"noise": -1.0}, ValueError, "noise must be"),
        ((1, 3, 8, 8), (1, 8, 8), {"noise": math.nan}, ValueError, "noise must be"),
        ((1, 3, 8, 8), (1, 8, 8), {"noise": torch.ones(2)}, ValueError, r"tensor \[3\]"),
        ((1, 3, 8, 8), (1, 8, 8), {"backend": "cuda"}, ValueError, "unknown backend"),
    ],
)
def test_bad_arguments_are_named(images, keep, options, error, says):
    with pytest.raises(error, match=says):
        impute(torch.zeros(images), torch.ones(keep, dtype=torch.bool), **options)


def test_the_bytes_of_fused_sweeps_are_counted_by_hand():
    """Two systems of 2 channels on 10 pixels: 3 + 1 and 2 + 2 cycles of 4 sweeps, 8 bytes and a mask byte each."""
    assert swept_bytes(torch.tensor([[3, 1], [2, 2]]), 10) == 4 * 10 * (8 * 8 + 3 + 2)


@pytest.mark.alone
def test_the_cost_of_a_system_never_rises_with_their_number():
    """Fills of 24 systems in one call against the same 24 in calls of 1 and of 6, in turns."""
    keep = torch.stack([mask("cam, 50% kept", 96, 96, seed=s) for s in range(24)])
    pictures = torch.stack([image(96, 96, seed=s) for s in range(24)])
    impute(pictures[:1], keep[:1])
    spent = {count: [] for count in (1, 6, 24)}
    for _ in range(15):
        for count, times in spent.items():
            start = time.perf_counter()
            for part, kept in zip(pictures.split(count), keep.split(count), strict=True):
                impute(part, kept)
            times.append(time.perf_counter() - start)
    alone, some, together = (min(times) for times in spent.values())
    assert together <= 1.25 * some
    assert together <= 1.25 * alone


@pytest.mark.alone
def test_memory_grows_by_the_results_alone():
    """The constant: 28 bytes a pixel and thread, however many systems; from there on what is returned."""
    side, few, many = 256, 4, 20
    keep = torch.stack([mask("cam, 50% kept", side, side, seed=s) for s in range(4)]).repeat(many // 4, 1, 1)
    pictures = image(side, side)[None].expand(many, -1, -1, -1).contiguous()
    impute(pictures[:few], keep[:few])
    peaks = [
        peak_above_resident(lambda n=n: impute(pictures[:n], keep[:n]), torch.device("cpu"))
        for n in (few, many)
    ]
    if peaks[0].peak_bytes is None:
        pytest.skip(f"this system does not tell its peak: {peaks[0].reason}")
    small, large = (peak.peak_bytes for peak in peaks)
    result = 3 * 4 * side**2
    slack = 2**20  # of the allocator
    assert large - small <= (many - few) * result * 1.05 + slack
    assert small <= few * result + torch.get_num_threads() * 30 * side**2 + 4 * slack

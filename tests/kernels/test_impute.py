"""The imputation against its definition, a sparse direct solution in float64."""

import functools
import math
import time

import numpy as np
import pytest
import torch

from xaimed_bench.measure.memory import peak_above_resident
from xaimed_kernels.impute import FLOAT32_TOL, SMALLEST_TOL, Imputation, impute
from xaimed_kernels.impute.cases import FAMILIES, LINES, SHAPES, image, mask, swept_bytes
from xaimed_kernels.impute.reference import NEIGHBOURS, residual, solve

TOL = 1e-4
SMALL = [shape for shape in SHAPES if math.prod(shape) < 20_000]


@functools.cache
def exact(family, height, width, seed=0, channels=3):
    """The definition's solution ``[c, h, w]``, float64, and the range of the kept pixels ``[c]``."""
    picture, keep = image(height, width, seed=seed, channels=channels), mask(family, height, width, seed=seed)
    filled = torch.from_numpy(solve(picture.double().numpy(), keep.numpy()))
    if not keep.any():
        return filled, torch.ones(channels)
    kept = picture[:, keep]
    return filled, kept.amax(1) - kept.amin(1)


def errors(filled, family, height, width, **draw):
    """The largest error of each channel over the range of its kept pixels (over 1 where that is 0)."""
    expected, spread = exact(family, height, width, **draw)
    spread = torch.where(spread > 0, spread, 1.0)
    return (filled.double() - expected).abs().amax((1, 2)) / spread


def rounding(family, height, width, **draw):
    """What writing the exact solution in float32 and normalising it costs, in the units of `errors`."""
    expected, spread = exact(family, height, width, **draw)
    return 1e-7 * (expected.abs().amax((1, 2)) / torch.where(spread > 0, spread, 1.0) + 2)


def one(family, height, width, *, seed=0, channels=3, tol=TOL, backend=None):
    picture = image(height, width, seed=seed, channels=channels)
    keep = mask(family, height, width, seed=seed)
    return impute(picture[None], keep[None], tol=tol, details=True, backend=backend)


def test_the_definition_solves_its_equations_one_by_one():
    picture, keep = image(6, 7).double(), mask("scattered, 50% kept", 6, 7)
    filled = solve(picture.numpy(), keep.numpy())
    assert np.array_equal(filled[:, keep.numpy()], picture[:, keep].numpy())
    removed = np.argwhere(~keep.numpy())
    assert len(removed) > 10
    for y, x in removed:
        inside = [(y + dy, x + dx, w) for dy, dx, w in NEIGHBOURS if 0 <= y + dy < 6 and 0 <= x + dx < 7]
        total = sum(w * (filled[:, i, j] - filled[:, y, x]) for i, j, w in inside)
        assert np.abs(total).max() < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_are_right_within_tol_on_every_kind_of_hole_and_shape(family):
    checked = 0
    for height, width in (*SMALL, *LINES):
        result = one(family, height, width)
        found = errors(result.images[0], family, height, width)
        assert found.max() <= TOL, (height, width, found)
        estimate = result.error[0] + rounding(family, height, width)
        assert (found <= estimate).all(), f"{height}x{width}: the estimate is below the error"
        checked += 1
    assert checked == len(SMALL) + len(LINES)


@pytest.mark.parametrize("family", ["cam, 20% kept", "cam, 80% kept", "spiral of 7 turns", "two neighbours"])
def test_pixels_are_right_within_tol_at_the_size_of_classifiers(family):
    result = one(family, 224, 224)
    found = errors(result.images[0], family, 224, 224)
    assert found.max() <= TOL
    assert (found <= result.error[0] + rounding(family, 224, 224)).all()


@pytest.mark.parametrize("tol", [1e-2, 1e-3, 1e-5, FLOAT32_TOL])
def test_tol_bounds_the_error_and_a_smaller_one_costs_cycles(tol):
    for family in ("cam, 20% kept", "frame", "two opposite corners"):
        result = one(family, 97, 128, tol=tol)
        assert errors(result.images[0], family, 97, 128).max() <= tol
        assert result.error.max() <= tol
    assert one("frame", 97, 128, tol=FLOAT32_TOL).cycles.min() > one("frame", 97, 128, tol=1e-2).cycles.max()


@pytest.mark.parametrize("family", FAMILIES)
def test_below_float32_a_refined_solution_reaches_tol(family):
    """Float64 images to 1e-10 of the range; the direct solution itself is right to 1e-11 of the largest value."""
    for height, width in ((64, 64), (31, 30), (2, 40), (1, 64)):
        picture, keep = image(height, width).double(), mask(family, height, width)
        result = impute(picture[None], keep[None], tol=1e-10, details=True)
        expected, spread = exact(family, height, width)
        rounding = 1e-11 * expected.abs().amax((1, 2))
        assert result.images.dtype == torch.float64
        assert result.error.max() <= 1e-10
        found = (result.images[0] - expected).abs().amax((1, 2))
        assert (found <= 1e-10 * spread + rounding).all(), (height, width, found / spread)


def test_below_float32_its_images_get_the_rounded_solution():
    for family in ("cam, 20% kept", "frame", "two opposite corners", "spiral of 7 turns"):
        picture, keep = image(97, 128), mask(family, 97, 128)
        filled = impute(picture[None], keep[None], tol=1e-9)[0]
        precise = impute(picture[None].double(), keep[None], tol=1e-9)[0]
        assert filled.dtype == torch.float32
        assert torch.equal(filled, precise.float())
        assert not torch.equal(filled, impute(picture[None], keep[None], tol=FLOAT32_TOL)[0])


def test_where_float32_stalls_the_solution_is_refined(monkeypatch):
    monkeypatch.setattr("xaimed_kernels.impute.cpu.MOST_CYCLES", 2)
    result = one("two neighbours", 64, 64)
    assert result.cycles.min() > 2
    assert errors(result.images[0], "two neighbours", 64, 64).max() <= TOL
    assert result.images.dtype == torch.float32


@pytest.mark.parametrize(("height", "width"), [(1024, 1024), (1023, 700)])
def test_large_images_are_solved_to_the_last_digits(height, width):
    """Harmonic polynomials of the stencil are known everywhere once the frame is kept."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    truth = np.stack([x + 2 * y, x * y / 512, (x * x - y * y) / 1024])
    keep = mask("frame", height, width) | mask("two neighbours", height, width)
    assert np.abs(residual_of(truth, keep.numpy())).max() < 1e-9
    broken = torch.from_numpy(truth).masked_fill(~keep, torch.nan)
    spread = truth.max((1, 2)) - truth.min((1, 2))
    single = impute(broken[None].float(), keep[None], tol=FLOAT32_TOL)[0].numpy()
    assert (np.abs(single - truth).max((1, 2)) / spread).max() <= FLOAT32_TOL
    double = impute(broken[None], keep[None], tol=SMALLEST_TOL)[0].numpy()
    assert (np.abs(double - truth).max((1, 2)) / spread).max() <= SMALLEST_TOL


def residual_of(filled, keep):
    return residual(torch.from_numpy(filled)[None, None], torch.from_numpy(keep)[None, None]).numpy()


def test_cycles_depend_on_neither_size_nor_hole():
    """Of the 10 cycles allowed, none of these needs more than 4 for 1e-4."""
    needed = {
        (family, size): int(one(family, size, size, channels=1).cycles.max())
        for family in FAMILIES
        for size in (32, 63, 256)
    }
    assert len(needed) == 3 * len(FAMILIES)
    assert max(needed.values()) <= 4, max(needed, key=needed.get)


def test_filled_pixels_stay_within_the_kept_ones():
    for family in FAMILIES:
        picture, keep = image(64, 65), mask(family, 64, 65)
        filled = impute(picture[None], keep[None])[0]
        kept = picture[:, keep]
        low, high = kept.amin(1)[:, None, None], kept.amax(1)[:, None, None]
        slack = 2 * TOL * (high - low) + 1e-6
        assert ((filled >= low - slack) & (filled <= high + slack)).all(), family


def test_kept_pixels_and_constants_are_untouched():
    picture, keep = image(33, 40), mask("scattered, 50% kept", 33, 40)
    filled = impute(picture[None], keep[None])[0]
    assert torch.equal(filled[:, keep], picture[:, keep])
    assert not torch.equal(filled, picture)
    constant = torch.full((1, 2, 33, 40), 0.1)
    assert (impute(constant, keep[None]) - 0.1).abs().max() < 1e-7


def test_filling_commutes_with_normalisation():
    """The fill is linear and keeps constants, so that images may be filled before or after it."""
    picture, keep = image(64, 64)[None], mask("cam, 20% kept", 64, 64)[None]
    mean, std = torch.tensor([0.1, 3.0, -2.0])[:, None, None], torch.tensor([0.2, 1.7, 5.0])[:, None, None]
    before = impute((picture - mean) / std, keep, tol=FLOAT32_TOL)
    after = (impute(picture, keep, tol=FLOAT32_TOL) - mean) / std
    assert ((before - after).abs().amax((0, 2, 3)) < 2e-6 * 8 / std.flatten()).all()


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e12])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_offsets_and_scales_cost_no_accuracy(offset, scale):
    """The tolerance is relative to the range of the kept pixels, in float64 images also far from zero."""
    family, size = "cam, 20% kept", 48
    expected, spread = exact(family, size, size)
    picture, keep = (image(size, size).double() + offset) * scale, mask(family, size, size)
    filled = impute(picture[None], keep[None])[0] / scale - offset
    assert filled.dtype == torch.float64
    assert ((filled - expected).abs().amax((1, 2)) / spread).max() <= TOL + abs(offset) * 1e-15


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


def test_wrong_dtypes_are_named():
    keep = torch.ones(1, 8, 8, dtype=torch.bool)
    with pytest.raises(TypeError, match="keep must be bool"):
        impute(torch.zeros(1, 3, 8, 8), keep.float())
    with pytest.raises(TypeError, match="images must be floating-point"):
        impute(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), keep)


def test_nearly_dependent_coarse_vertices_do_not_blow_up():
    """Few removed pixels off each other: direct solutions on the coarsest grid were large differences, once."""
    for seed in range(40):
        for family in ("cam and dust", "scattered, 99% kept"):
            result = one(family, 96, 96, seed=seed, channels=1)
            assert errors(result.images[0], family, 96, 96, seed=seed, channels=1).max() <= TOL


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

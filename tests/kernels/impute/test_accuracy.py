"""The imputation against its definition, a sparse direct solution in float64."""

import numpy as np
import pytest
import torch

from tests.kernels.impute.definition import SMALL, TOL, errors, exact, one, rounding
from xaimed_kernels.impute import FLOAT32_TOL, SMALLEST_TOL, impute
from xaimed_kernels.impute.cases import FAMILIES, LINES, image, mask
from xaimed_kernels.impute.reference import NEIGHBOURS, residual, solve


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


def test_nearly_dependent_coarse_vertices_do_not_blow_up():
    """Few removed pixels off each other: direct solutions on the coarsest grid were large differences, once."""
    for seed in range(40):
        for family in ("cam and dust", "scattered, 99% kept"):
            result = one(family, 96, 96, seed=seed, channels=1)
            assert errors(result.images[0], family, 96, 96, seed=seed, channels=1).max() <= TOL

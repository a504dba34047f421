"""Phantoms: reproducible, with a lesion that is where the mask says, and with medical images' statistics."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from xaimed_bench.data import IMAGENET, PHANTOM_KINDS, Normalisation, phantoms


@pytest.mark.parametrize("kind", PHANTOM_KINDS)
@pytest.mark.parametrize("size", [64, 224])
def test_a_batch_has_the_shapes_and_fields_it_promises(kind, size):
    batch = phantoms(kind, 3, size=size)
    assert batch.images.shape == (3, 3, size, size)
    assert batch.images.dtype == torch.float32
    assert torch.isfinite(batch.images).all()
    assert batch.masks.shape == (3, size, size)
    assert batch.masks.dtype == torch.bool
    assert batch.has_mask.all()
    assert batch.labels.tolist() == [1, 1, 1]
    assert batch.classes == ("healthy", "lesion")
    assert batch.names == (f"{kind}-0000", f"{kind}-0001", f"{kind}-0002")


@pytest.mark.parametrize("kind", PHANTOM_KINDS)
def test_image_i_depends_on_kind_seed_and_i_alone(kind):
    few, many, other = (phantoms(kind, n, size=48, seed=s) for n, s in ((2, 4), (5, 4), (2, 5)))
    assert torch.equal(few.images, many.images[:2])
    assert torch.equal(few.masks, many.masks[:2])
    assert not torch.equal(few.images, other.images)
    assert not torch.equal(few.images[0], few.images[1])


def test_phantoms_leave_the_global_random_state_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    phantoms("skin", 2, size=32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", PHANTOM_KINDS)
def test_the_lesion_differs_from_its_surroundings_and_lies_inside_the_image(kind):
    batch = phantoms(kind, 12)
    gray = batch.pixels.mean(1)
    mask = batch.masks.float().unsqueeze(1)
    ring = (F.max_pool2d(mask, 41, 1, 20) - F.max_pool2d(mask, 9, 1, 4)).squeeze(1).bool()
    for image, lesion, around in zip(gray, batch.masks, ring, strict=True):
        assert 0.002 < float(lesion.float().mean()) < 0.4
        contrast = float(image[lesion].mean() - image[around].mean())
        # pigment darkens, tumours and opacities brighten; an opacity beside heart or ribs stands out least
        assert contrast < -0.2 if kind == "skin" else contrast > {"mri": 0.15, "xray": 0.02}[kind]
        assert not lesion[[0, -1]].any()
        assert not lesion[:, [0, -1]].any()


@pytest.mark.parametrize("kind", PHANTOM_KINDS)
def test_a_share_of_healthy_phantoms_has_no_lesion_and_says_so(kind):
    batch = phantoms(kind, 8, size=48, healthy=0.25)
    assert batch.labels.tolist().count(0) == 2
    assert torch.equal(batch.masks.flatten(1).any(1), batch.labels == 1)
    longer = phantoms(kind, 12, size=48, healthy=0.25)
    assert torch.equal(longer.images[:8], batch.images)


def test_the_lesion_stays_in_its_place_when_the_size_changes():
    small, large = (phantoms("mri", 4, size=size, seed=2).masks.float() for size in (64, 256))
    shrunk = F.avg_pool2d(large.unsqueeze(1), 4).squeeze(1) > 0.5
    overlap = (shrunk & small.bool()).sum() / (shrunk | small.bool()).sum()
    assert float(overlap) > 0.9


def test_pixels_are_recovered_from_any_normalisation():
    own = Normalisation(mean=(0.2, 0.3, 0.4), std=(0.1, 0.2, 0.3))
    batch, usual = phantoms("skin", 2, size=32, normalisation=own), phantoms("skin", 2, size=32)
    assert usual.normalisation == IMAGENET
    assert not torch.allclose(batch.images, usual.images)
    torch.testing.assert_close(batch.pixels, usual.pixels)
    by_hand = (usual.pixels - torch.tensor(own.mean).view(3, 1, 1)) / torch.tensor(own.std).view(3, 1, 1)
    torch.testing.assert_close(batch.images, by_hand)


def test_wrong_requests_name_what_is_allowed():
    with pytest.raises(ValueError, match="no phantom is called 'ct'; choose one of mri, skin, xray"):
        phantoms("ct", 1)
    with pytest.raises(ValueError, match="0 phantoms asked for"):
        phantoms("mri", 0)
    with pytest.raises(ValueError, match="size of 16 or more"):
        phantoms("mri", 1, size=8)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 2"):
        phantoms("mri", 1, healthy=2)
    with pytest.raises(ValueError, match="standard deviations must be positive"):
        Normalisation((0, 0, 0), (1, 0, 1))

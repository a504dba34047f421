"""grad-cam's helpers beside the methods: targets, pictures, scaling, projections."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch

from xaimed_core.compat.utils import image, model_targets, svd_on_activations

pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
upstream_image = importlib.import_module("pytorch_grad_cam.utils.image")
upstream_targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")

TARGETS = {
    "ClassifierOutputTarget": (2,),
    "ClassifierOutputSoftmaxTarget": (2,),
    "ClassifierOutputReST": (2,),
    "BinaryClassifierOutputTarget": (0,),
    "SoftmaxOutputTarget": (),
    "RawScoresOutputTarget": (),
    "FinerWeightedTarget": (0, [1, 3], 0.7),
}


@pytest.mark.parametrize("shape", [(5,), (3, 5)], ids=["row", "batch"])
@pytest.mark.parametrize("name", TARGETS)
def test_targets_give_grad_cams_scores(name, shape):
    output = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    theirs = getattr(upstream_targets, name)(*TARGETS[name])(output)
    ours = getattr(model_targets, name)(*TARGETS[name])(output)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs)


def test_the_binary_target_negates_for_category_0_alone():
    output = torch.tensor([[1.5], [-2.0]])
    for category in (0, 1):
        theirs = upstream_targets.BinaryClassifierOutputTarget(category)(output)
        assert torch.equal(model_targets.BinaryClassifierOutputTarget(category)(output), theirs)


def test_a_softmax_of_one_logit_is_refused():
    with pytest.raises(
        ValueError, match="softmax of one logit is always 1; use BinaryClassifierOutputTarget"
    ):
        model_targets.ClassifierOutputSoftmaxTarget(0)(torch.tensor([3.0]))


def test_the_segmentation_target_sums_its_class_over_the_mask():
    output = torch.randn(3, 4, 5)
    mask = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    theirs = upstream_targets.SemanticSegmentationTarget(1, mask)(output)
    torch.testing.assert_close(model_targets.SemanticSegmentationTarget(1, mask)(output), theirs)


def test_the_detection_target_gives_grad_cams_score():
    found = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40], [5, 5, 9, 9]]),
        "labels": torch.tensor([1, 2, 1]),
        "scores": torch.tensor([0.9, 0.8, 0.7]),
    }
    wanted = np.array([[1.0, 0, 10, 10], [20, 22, 40, 40], [60, 60, 70, 70]])
    for labels in ([1, 2, 3], [2, 2, 1]):
        theirs = upstream_targets.FasterRCNNBoxScoreTarget(labels, wanted)(found)
        ours = model_targets.FasterRCNNBoxScoreTarget(labels, wanted)(found)
        torch.testing.assert_close(ours, theirs)
        assert float(ours) > 0
    nothing = {name: value[:0] for name, value in found.items()}
    assert float(model_targets.FasterRCNNBoxScoreTarget([1], wanted)(nothing)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_preprocessed_as_grad_cam_does(dtype):
    random = np.random.default_rng(1)
    picture = (random.random((7, 9, 3)) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    for given in ({}, {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}):
        theirs = upstream_image.preprocess_image(picture, **given)
        torch.testing.assert_close(image.preprocess_image(picture, **given), theirs)
    np.testing.assert_allclose(
        image.deprocess_image(picture.astype(np.float32)).astype(int),
        upstream_image.deprocess_image(picture.astype(np.float32)),
        atol=1,
    )


@pytest.mark.parametrize(
    "given", [{}, {"use_rgb": True}, {"image_weight": 0.2}, {"colormap": 16, "use_rgb": True}]
)
def test_overlays_look_like_grad_cams_without_opencv(given):
    random = np.random.default_rng(2)
    picture, mask = random.random((16, 20, 3), dtype=np.float32), random.random((16, 20), dtype=np.float32)
    theirs = upstream_image.show_cam_on_image(picture, mask, **given)
    ours = image.show_cam_on_image(picture, mask, **given)
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - theirs).max() <= 2, (
        "in levels of 255: OpenCV rounds its jet colours otherwise"
    )


def test_other_colours_without_opencv_and_bad_pictures_say_what_to_do(monkeypatch):
    picture, mask = np.ones((4, 4, 3), np.float32), np.zeros((4, 4), np.float32)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(
        ModuleNotFoundError, match="pip install opencv-python-headless, or leave colormap out"
    ):
        image.show_cam_on_image(picture, mask, colormap=16)
    with pytest.raises(ValueError, match=r"from 255 to 255; divide it by 255"):
        image.show_cam_on_image(picture * 255, mask)
    with pytest.raises(ValueError, match=r"image_weight must be in \[0, 1\], got 2"):
        image.show_cam_on_image(picture, mask, image_weight=2)


@pytest.mark.parametrize("size", [None, (20, 12), (3, 5)], ids=["kept", "larger", "smaller"])
def test_maps_are_scaled_as_grad_cam_does(size):
    maps = np.random.default_rng(3).normal(size=(2, 6, 8)).astype(np.float32)
    np.testing.assert_allclose(
        image.scale_cam_image(maps, size), upstream_image.scale_cam_image(maps, size), atol=1e-6
    )
    if size:
        stacked = np.stack([maps, -maps], 1)
        np.testing.assert_allclose(
            image.scale_accross_batch_and_channels(stacked, size),
            upstream_image.scale_accross_batch_and_channels(stacked, size),
            atol=1e-6,
        )


def test_projections_are_grad_cams_up_to_the_sign_that_the_svd_leaves_open():
    from pytorch_grad_cam.utils import svd_on_activations as upstream

    activations = np.random.default_rng(4).normal(size=(3, 10, 5, 6)).astype(np.float32)
    activations[1, 2, 3, 4] = np.nan
    ours, theirs = svd_on_activations.get_2d_projection(activations), upstream.get_2d_projection(activations)
    for mine, other in zip(ours, theirs, strict=True):
        assert min(np.abs(mine - other).max(), np.abs(mine + other).max()) < 1e-4 * np.abs(other).max()
    np.testing.assert_allclose(
        svd_on_activations.get_2d_projection_with_sign_correction(activations),
        upstream.get_2d_projection_with_sign_correction(activations),
        atol=1e-4 * np.abs(theirs).max(),
    )

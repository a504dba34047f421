"""The metrics of grad-cam and their mirror, side by side."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import xaimed_core.compat.metrics.cam_mult_image as multiply
import xaimed_core.compat.metrics.perturbation_confidence as perturbation
import xaimed_core.compat.metrics.road as road
from xaimed_core.compat import NotMirroredError
from xaimed_core.compat.utils.image import show_cam_on_image
from xaimed_core.compat.utils.model_targets import (
    BinaryClassifierOutputTarget,
    ClassifierOutputSoftmaxTarget,
    ClassifierOutputTarget,
    FinerWeightedTarget,
    SemanticSegmentationTarget,
    category_of,
)

their_multiply, their_perturbation, their_road = (
    pytest.importorskip(f"pytorch_grad_cam.metrics.{name}", reason="grad-cam is not installed")
    for name in ("cam_mult_image", "perturbation_confidence", "road")
)

# grad-cam hands tensors to numpy.argwhere, which numpy 2 warns about
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

SIZE = 40
ROAD = [
    "ROADMostRelevantFirst",
    "ROADLeastRelevantFirst",
    "ROADMostRelevantFirstAverage",
    "ROADLeastRelevantFirstAverage",
    "ROADCombined",
]


@contextmanager
def their_noise_off(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(their_road.NoisyLinearImputer.__init__, "__defaults__", (0.0, []))
        yield


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Tanh()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 4)).eval()


def case(kind="distinct", count=3):
    torch.manual_seed(1)
    images = torch.randn(count, 3, SIZE, SIZE)
    maps = torch.nn.functional.interpolate(torch.rand(count, 1, 5, 5), (SIZE, SIZE), mode="bilinear")[:, 0]
    if kind == "zeros":
        maps = (maps - maps.flatten(1).median(1).values[:, None, None]).relu()
    targets = [ClassifierOutputSoftmaxTarget(k % 4) for k in range(count)]
    return images, maps.numpy(), targets


@pytest.mark.parametrize("kind", ["distinct", "zeros"])
@pytest.mark.parametrize("name", ROAD)
def test_scores_are_grad_cams_without_noise(name, kind, monkeypatch):
    images, maps, targets = case(kind)
    model = network()
    with their_noise_off(monkeypatch):
        theirs = getattr(their_road, name)()(images, maps, targets, model)
    ours = getattr(road, name)(noise=0.0)(images, maps, targets, model)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (3,)
    assert np.abs(theirs).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("percentiles", [[20, 40, 60, 80], [90], np.arange(10, 100, 20)])
def test_percentiles_mean_what_they_mean_there(percentiles, monkeypatch):
    images, maps, targets = case()
    model = network()
    with their_noise_off(monkeypatch):
        theirs = their_road.ROADCombined(percentiles=percentiles)(images, maps, targets, model)
    ours = road.ROADCombined(percentiles=percentiles, noise=0.0)(images, maps, targets, model)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_images_shown_are_grad_cams(monkeypatch):
    images, maps, targets = case()
    with their_noise_off(monkeypatch):
        theirs = their_road.ROADMostRelevantFirst(percentile=70)(
            images, maps, targets, network(), return_visualization=True
        )
    metric = road.ROADMostRelevantFirst(percentile=70, noise=0.0)
    scores, shown = metric(images, maps, targets, network(), return_visualization=True)
    np.testing.assert_allclose(scores, theirs[0], atol=1e-4)
    spread = images.amax((2, 3)) - images.amin((2, 3))
    assert ((shown - theirs[1]).abs().amax((2, 3)) / spread).max() < 1e-4
    assert not torch.equal(shown, images)


def test_scores_after_are_given_on_request(monkeypatch):
    images, maps, targets = case()
    with their_noise_off(monkeypatch):
        theirs = their_road.ROADLeastRelevantFirst(30)(images, maps, targets, network(), return_diff=False)
    ours = road.ROADLeastRelevantFirst(30, noise=0.0)(images, maps, targets, network(), return_diff=False)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_noise_is_drawn_from_torchs_random_numbers():
    images, maps, targets = case()
    model, scores = network(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        scores.append(road.ROADCombined(percentiles=[50])(images, maps, targets, model))
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_the_imputer_fills_as_grad_cams_does():
    images, maps, _ = case()
    mask = torch.from_numpy(maps[0] > 0.5).float()
    theirs = their_road.NoisyLinearImputer(noise=0.0)(images[0], mask)
    ours = road.NoisyLinearImputer(noise=0.0)(images[0], mask)
    assert (ours - theirs).abs().max() < 1e-4 * float(images[0].max() - images[0].min())


@pytest.mark.parametrize("name", ["CamMultImageConfidenceChange", "DropInConfidence", "IncreaseInConfidence"])
def test_images_times_maps_are_scored_as_by_grad_cam(name):
    images, maps, targets = case(count=8)
    theirs = getattr(their_multiply, name)()(images, maps, targets, network())
    ours = getattr(multiply, name)()(images, maps, targets, network())
    assert len(np.unique(theirs)) > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert ours.dtype == np.float32


def test_any_imputer_and_perturbation_can_be_plugged_in():
    images, maps, targets = case()

    def blacken(image, mask):
        return image * mask

    model = network()
    for ours, theirs in (
        (perturbation.RemoveMostRelevantFirst, their_perturbation.RemoveMostRelevantFirst),
        (perturbation.RemoveLeastRelevantFirst, their_perturbation.RemoveLeastRelevantFirst),
    ):
        mine = perturbation.PerturbationConfidenceMetric(ours(60, blacken))(images, maps, targets, model)
        expected = their_perturbation.PerturbationConfidenceMetric(theirs(60, blacken))(
            images, maps, targets, model
        )
        np.testing.assert_allclose(mine, expected, atol=1e-6)
        single = perturbation.PerturbationConfidenceMetric(ours(60, blacken).__call__)  # no batched form
        np.testing.assert_allclose(single(images, maps, targets, model), expected, atol=1e-6)


def test_the_model_is_left_as_it_was():
    images, maps, targets = case()
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    road.ROADCombined(percentiles=[50])(images, maps, targets, model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_not_mirrored_or_does_not_fit_is_named():
    images, maps, targets = case()
    with pytest.raises(NotMirroredError, match="percentile='auto'"):
        road.ROADMostRelevantFirst(percentile="auto")
    metric = road.ROADMostRelevantFirst()
    with pytest.raises(ValueError, match="one map per image"):
        metric(images, maps[:2], targets, network())
    with pytest.raises(ValueError, match="2 targets for 3 images"):
        metric(images, maps, targets[:2], network())
    with pytest.raises(ValueError, match="NaN or infinity"):
        metric(images, maps * np.nan, targets, network())
    one = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 1))
    with pytest.raises(ValueError, match="softmax of one logit"):
        metric(images, maps, targets, one)


def test_a_logit_is_scored_too(monkeypatch):
    images, maps, _ = case()
    targets = [ClassifierOutputTarget(0)] * 3
    with their_noise_off(monkeypatch):
        theirs = their_road.ROADCombined([40, 60])(images, maps, targets, network())
    ours = road.ROADCombined([40, 60], noise=0.0)(images, maps, targets, network())
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("percentile", [-1, 100.5, float("nan"), np.float64(101)])
def test_percentiles_outside_of_0_to_100_are_named(percentile):
    for make in (
        lambda: road.ROADMostRelevantFirst(percentile),
        lambda: road.ROADLeastRelevantFirstAverage([20, percentile]),
        lambda: road.ROADCombined([percentile]),
        lambda: perturbation.RemoveMostRelevantFirst(percentile, lambda image, mask: image),
    ):
        with pytest.raises(ValueError, match="numbers from 0 to 100"):
            make()
    with pytest.raises(ValueError, match="at least one"):
        road.ROADCombined(percentiles=[])


@pytest.mark.parametrize("category", [2.7, True, "2", None, torch.tensor(True), np.float32(1)])
def test_a_category_that_is_no_whole_number_is_named_and_never_rounded(category):
    for make in (
        ClassifierOutputTarget,
        ClassifierOutputSoftmaxTarget,
        BinaryClassifierOutputTarget,
        lambda c: SemanticSegmentationTarget(c, np.ones((2, 2))),
        lambda c: FinerWeightedTarget(0, [c], 1.0),
    ):
        with pytest.raises(TypeError, match="whole class numbers"):
            make(category)
    theirs = type("ClassifierOutputTarget", (), {"__module__": "pytorch_grad_cam.utils.model_targets"})()
    theirs.category = category
    assert category_of(theirs) is None  # the callable itself decides


def test_numbers_of_numpy_and_torch_are_categories():
    row = torch.tensor([0.0, 1.0, 2.0])
    for category in (2, np.int64(2), torch.tensor(2), -1):
        assert ClassifierOutputTarget(category)(row) == 2
    assert category_of(ClassifierOutputTarget(np.int64(2))) == 2
    with pytest.raises(ValueError, match="categories 0 and 1"):
        BinaryClassifierOutputTarget(2)
    with pytest.raises(ValueError, match=r"mask is \(1, 2\).*\(2, 2\)"):
        SemanticSegmentationTarget(0, np.ones((1, 2)))(torch.ones(3, 2, 2))


def test_softmax_of_probabilities_is_warned_of_once():
    images, maps, _ = case()
    model = nn.Sequential(network(), nn.Softmax(1))
    targets = [ClassifierOutputSoftmaxTarget(0)] * 3
    with pytest.warns(UserWarning, match="use ClassifierOutputTarget"):
        road.ROADCombined([50])(images, maps, targets, model)
    road.ROADCombined([50])(images, maps, targets, model)  # a second warning would be an error here


@pytest.mark.parametrize("mask", [np.full((4, 4), 2.0), np.full((4, 4), np.nan), np.zeros((1, 4))])
def test_a_map_that_cannot_be_drawn_is_named(mask):
    with pytest.raises(ValueError, match=r"must be \(4, 4\) as the image and in \[0, 1\]"):
        show_cam_on_image(np.zeros((4, 4, 3)), mask)

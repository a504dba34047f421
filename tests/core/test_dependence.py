"""A batch whose images change each other's scores is never scored or explained without a word."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from xaimed_core import explain, road
from xaimed_core.compat.metrics.road import ROADCombined
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget
from xaimed_core.faithfulness import evaluate
from xaimed_core.methods import METHODS

DEPENDS = r"an image's scores depend on the other images of its batch \({}"
MANY_FORWARDS = sorted(
    {"scorecam", "sscam", "iscam", "reciprocam", "smoothgradcam++", "sess(layercam)"}
    & {*METHODS, "sess(layercam)"}
)


class Net(nn.Module):
    def __init__(self, of_images=lambda x: x, of_features=lambda y: y, norm=None):
        super().__init__()
        self.conv, self.norm, self.head = (
            nn.Conv2d(3, 6, 3, padding=1),
            norm or nn.Identity(),
            nn.Linear(6, 4),
        )
        self.of_images, self.of_features = of_images, of_features
        self.rows = []

    def forward(self, images):
        self.rows.append(len(images))
        y = self.norm(self.conv(self.of_images(images))).relu().mean((2, 3))
        return self.head(self.of_features(y))


MIXING = {
    "the batch's mean and deviation": {"of_images": lambda x: (x - x.mean()) / x.std()},
    "the batch's largest value": {"of_images": lambda x: x / x.amax()},
    "the neighbour's features": {"of_features": lambda y: y + y.roll(1, 0)},
    "ranks over the batch": {"of_features": lambda y: y + y.argsort(0).argsort(0)},
    "a batch's own statistics": {"norm": nn.BatchNorm2d(6, track_running_stats=False)},
}


@pytest.fixture(params=[1, 2], ids="brightest {}".format)
def images(request):
    brightness = torch.tensor([1.0, 2.0, 2.0, 3.0])
    brightness[request.param] = 4.0
    return torch.rand(4, 3, 10, 10) * brightness.view(4, 1, 1, 1)


@pytest.mark.parametrize("kind", MIXING)
@pytest.mark.parametrize("method", MANY_FORWARDS)
def test_methods_of_many_forwards_say_that_images_mix(method, kind, images):
    with pytest.warns(UserWarning, match=DEPENDS.format(r"by \d+\.\d% of the largest score")):
        explain(Net(**MIXING[kind]).eval(), images, method, "conv", targets=1)


@pytest.mark.parametrize("kind", MIXING)
def test_road_says_that_images_mix(kind, images):
    model, maps = Net(**MIXING[kind]).eval(), torch.rand(4, 10, 10)
    with pytest.warns(UserWarning, match=DEPENDS.format(r"by \d+\.\d% of the largest score")):
        road(model, images, maps, targets=1)
    model = Net(**MIXING[kind]).eval()
    with pytest.warns(UserWarning, match=DEPENDS.format(r"by \d+\.\d% of the largest score")):
        ROADCombined()(images, np.asarray(maps), [ClassifierOutputTarget(1)] * 4, model)


@pytest.mark.parametrize("metric", ["drop", "increase"])
def test_metrics_of_one_perturbation_say_that_images_mix(metric, images):
    model = Net(**MIXING["the batch's mean and deviation"]).eval()
    with pytest.warns(UserWarning, match=DEPENDS.format(r"by \d+\.\d% of the largest score")):
        evaluate(metric, model, images, torch.rand(4, 10, 10), targets=1)


def test_gradient_methods_say_which_layer_normalises_images_together(images):
    model = Net(**MIXING["a batch's own statistics"]).eval()
    with pytest.warns(
        UserWarning, match=re.escape("(norm normalises them together, for it keeps no running")
    ):
        explain(model, images, "gradcam", "conv", targets=1)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(6), nn.InstanceNorm2d(6), nn.GroupNorm(2, 6)])
def test_images_that_do_not_mix_give_no_warning_and_cost_one_forward_once(norm, images):
    model = Net(norm=norm).eval()
    rows = []
    for _ in range(2):
        model.rows.clear()
        explain(model, images, "iscam", "conv", targets=1)
        rows.append(sum(model.rows))
    assert rows[0] == rows[1] + len(images)
    explain(model, images, ("gradcam", *MANY_FORWARDS), "conv", targets=1)
    road(model, images, torch.rand(4, 10, 10), targets=1)


def test_a_model_in_training_mode_is_looked_at_once_too(images):
    model, rows = Net().train(), []
    for _ in range(2):
        model.rows.clear()
        road(model, images, torch.rand(4, 10, 10), targets=1)
        rows.append(sum(model.rows))
    assert rows[0] == rows[1] + len(images)


def test_a_single_image_depends_on_no_other(images):
    for kind in MIXING.values():
        explain(Net(**kind).eval(), images[:1], ("gradcam", "scorecam"), "conv", targets=1)


def test_scores_that_are_drawn_anew_are_not_taken_for_mixing(images):
    model = Net(of_features=lambda y: functional.dropout(y, 0.5, training=True)).eval()
    with pytest.warns(
        UserWarning, match="the model gives other scores for the same images when it runs again"
    ):
        road(model, images, torch.rand(4, 10, 10), targets=1)


def test_images_that_the_model_refuses_are_no_finding(images):
    def checked(x):
        assert bool((x.amax((1, 2, 3)) > 0.9).all()), "not scaled"
        return x

    model = Net(of_images=checked).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(model, images.clamp(max=1.0), "gradcam", "conv", targets=1)

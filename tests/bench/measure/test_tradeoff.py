"""What the tradeoff's bench measures besides time: parts of grad-cam's AblationCAM, ceilings, what maps are worth."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xaimed_bench.measure.case import measure_case
from xaimed_bench.measure.ceiling import count_ceiling
from xaimed_bench.measure.peers import some_ablations
from xaimed_bench.measure.quality import REMOVED, Scene, judge_maps
from xaimed_bench.models import build_model, classifier_of
from xaimed_bench.study.trained import Recipe, Trainer, start_as_identity
from xaimed_core import explain
from xaimed_core.faithfulness import evaluate
from xaimed_reports.store.records import Ceiling, Part
from xaimed_reports.store.rows import Untimed


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def forwards_of(net):
    seen = []
    net[0].register_forward_hook(lambda _m, _i, output: seen.append(len(output)))
    return seen


@pytest.mark.parametrize(("batches", "counts"), [(2, [4, 4, 0]), (4, [8, 4, 4]), (6, [8, 8, 8])])
def test_some_ablation_batches_are_run_and_no_other(net, images, batches, counts):
    classes = [0, 1, 2]
    exact = explain(net, images, "ablationcam", "1", classes, semantics="grad-cam").weights["ablationcam"]
    seen = forwards_of(net)
    with some_ablations(net, "1", images, classes, batches=batches, batch_size=4) as weights:
        for _ in range(2):
            found = weights()
    made = ~found.isnan()
    assert made.sum(1).tolist() == counts
    assert torch.allclose(found[made], exact[made], atol=1e-5)
    assert seen.count(4) == 2 * batches
    assert isinstance(net[1], nn.ReLU)


def test_channels_below_zero_are_ablated_to_zero_where_asked(net, images):
    net[1], classes = nn.Tanh(), [0, 1, 2]  # a ReLU would read zero and less than zero alike
    exact = explain(net, images, "ablationcam", "0", classes, semantics="grad-cam").weights["ablationcam"]
    found = {}
    for to_zero in (True, False):
        with some_ablations(net, "0", images, classes, batches=6, batch_size=4, to_zero=to_zero) as weights:
            found[to_zero] = weights()
    assert torch.allclose(found[True], exact, atol=1e-5)
    assert not torch.allclose(found[False], exact, atol=1e-2)


def test_a_ceiling_counts_every_multiply_add_once(net, images):
    found = count_ceiling(lambda: net(images), lambda: [net(images), net(images[:1])], channels=8)
    conv, linear = 2 * 3 * 8 * 9 * 16 * 16, 2 * 8 * 3
    assert found == Ceiling(8, 3 * (conv + linear), 4 * (conv + linear))
    assert found.times == 6


def test_maps_are_worth_what_their_metrics_say(net, images):
    classes = (0, 1, 2)
    maps = explain(net, images, ("xgradcam", "ablationcam"), "1", list(classes)).maps
    lesions = torch.zeros(3, 16, 16, dtype=torch.bool)
    lesions[:, :8, :4] = True
    found = judge_maps("xgradcam", maps, net, Scene("scans", "a network", images, classes, lesions))
    mass = maps["xgradcam"]
    assert found.in_lesion == pytest.approx((mass[:, :8, :4].sum((1, 2)) / mass.sum((1, 2))).tolist())
    assert found.lesion_area == (0.125,) * 3
    assert found.agreement.spearman is not None
    assert judge_maps("ablationcam", maps, net, Scene("", "", images, classes)).agreement.largest == 0
    curve = evaluate("deletion", net, images, mass, targets=list(classes))
    at = [curve.metric.perturbation.removed.index(f) for f in (0.2, 0.4, 0.6, 0.8)]
    inside = curve.curve[0, 0, at]
    assert min(inside) - 0.1 <= found.deletion[0] <= max(curve.curve[0, 0])
    assert min(REMOVED) > 0


def test_an_empty_map_has_nothing_in_the_lesion(net, images):
    empty = {"xgradcam": torch.zeros(3, 16, 16), "ablationcam": torch.rand(3, 16, 16)}
    lesions = torch.ones(3, 16, 16, dtype=torch.bool)
    found = judge_maps("xgradcam", empty, net, Scene("", "", images, (0, 1, 2), lesions))
    assert found.in_lesion == (0.0,) * 3


def test_what_else_is_known_of_ours_stands_in_its_row(ask, plan):
    arms = {"ours": lambda: torch.rand(1, 8, 8), "few": lambda: torch.rand(1, 8, 8)}
    question = ask(
        arms=arms,
        truth=lambda: torch.rand(1, 8, 8),
        allowed=2.0,
        parts={"few": Part("step", 2, 64)},
        ceiling=lambda: Ceiling(8, 10, 20),
        qualities=list,
    )
    rows = {row.impl: row for row in measure_case(question, plan, torch.device("cpu"))}
    assert (rows["ours"].part, rows["ours"].ceiling) == (None, Ceiling(8, 10, 20))
    assert (rows["few"].part, rows["few"].ceiling) == (Part("step", 2, 64), None)
    unmeasured = {row.impl: row for row in measure_case(question, None, torch.device("cpu"))}
    assert {type(row) for row in unmeasured.values()} == {Untimed}


def test_residual_blocks_start_as_the_identity():
    model = build_model("resnet18", calibrate=False)
    start_as_identity(model)
    x = torch.rand(1, 64, 8, 8)
    assert torch.equal(model.layer1(x), x)


@pytest.fixture
def scans(tmp_path):
    """Class folders below Training and Testing: dark and bright squares."""
    random = np.random.default_rng(0)
    for split, count in (("Training", 12), ("Testing", 4)):
        for label, level in (("dark", 40), ("light", 200)):
            folder = tmp_path / split / label
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = random.normal(level, 10, (40, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
    return tmp_path


def test_a_network_is_trained_once_and_judged_on_both_kinds_of_images(scans, tmp_path):
    said = []
    recipe = Recipe(real=24, phantoms=16, epochs=1, small=32, refined=32, tested=8, judged=3, size=64)
    trained = [
        Trainer(scans, "scans", tmp_path / "kept", recipe, say=said.append).get("resnet18") for _ in range(2)
    ]
    assert [line.split()[0] for line in said] == ["training", "epoch", "epoch"]
    assert trained[0].checkpoint == trained[1].checkpoint
    real, made = trained[0].scenes
    assert (real.words, made.words) == ("test images of scans", "phantoms with a known lesion")
    assert len(real.images) == len(made.images) == 3
    assert made.classes == (3,) * 3
    assert bool(made.lesions.flatten(1).any(1).all())
    assert "of 8 test images and" in real.network
    assert classifier_of(build_model("resnet18", checkpoint=trained[0].checkpoint)).out_features == 4


def test_without_a_folder_phantoms_alone_are_learnt(tmp_path):
    recipe = Recipe(phantoms=16, epochs=1, small=32, refined=16, tested=4, judged=2, size=64)
    (only,) = Trainer(None, "", tmp_path, recipe, say=lambda _: None).get("resnet18").scenes
    assert only.classes == (1, 1)
    assert "images" not in only.network

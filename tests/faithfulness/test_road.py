"""`road` and `evaluate` against their definitions in float64."""

import pytest
import torch
from torch import nn

from xaimed_core import explain
from xaimed_core.faithfulness import (
    METRICS,
    Blur,
    Impute,
    Mean,
    Remove,
    Zero,
    evaluate,
    masks_of,
    remove,
    road,
)
from xaimed_core.faithfulness.evaluation import summarise, with_removal
from xaimed_core.targets import ClassTargets
from xaimed_kernels.impute.reference import solve

SIZE = 32
FRACTIONS = (0.05, 0.3, 0.7)


def network(outputs=4):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Tanh()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, outputs)).eval()


def case(count=3):
    random = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, SIZE, SIZE, generator=random)
    return images, torch.rand(count, SIZE, SIZE, generator=random)


def exactly_filled(images, keep):
    pairs = zip(images.double().numpy(), keep.numpy(), strict=True)
    return torch.stack([torch.from_numpy(solve(image, mask)) for image, mask in pairs])


def test_road_is_its_definition_in_float64():
    images, maps = case()
    model, classes = network(), torch.tensor([2, 0, 3])
    masks = masks_of(maps, FRACTIONS, ("lerf", "morf"))
    double = network().double()
    expected = torch.empty(3, 2, 3, dtype=torch.float64)
    for o in range(2):
        for f in range(3):
            filled = exactly_filled(images, masks.keep[:, o, f])
            expected[:, o, f] = double(filled).softmax(1)[torch.arange(3), classes]
    result = road(model, images, maps, targets=classes, removed=FRACTIONS, noise=0.0)
    assert (result.curve - expected).abs().max() < 1e-5
    assert (result.score - (expected[:, 0] - expected[:, 1]).mean(1) / 2).abs().max() < 1e-5
    assert (result.before - model(images).softmax(1)[torch.arange(3), classes]).abs().max() < 1e-6
    assert torch.equal(result.removed, masks.removed)
    morf = road(model, images, maps, targets=classes, removed=FRACTIONS, noise=0.0, order="morf")
    assert (morf.score - (expected[:, 1] - result.before[:, None]).mean(1)).abs().max() < 1e-5
    lerf = road(model, images, maps, targets=classes, removed=FRACTIONS, noise=0.0, order="lerf")
    assert torch.allclose((lerf.score - morf.score) / 2, result.score, atol=1e-6)


@pytest.mark.parametrize("fraction", [0.02, 0.2, 0.6])
def test_a_linear_models_morf_change_is_the_weighted_fill(fraction):
    """For the logit w.x the change is w.(u - x), with u the float64 solution."""
    images, maps = case()
    torch.manual_seed(2)
    weights = torch.randn(3 * SIZE * SIZE, dtype=torch.float64) / SIZE
    linear = nn.Linear(3 * SIZE * SIZE, 1, bias=False)
    linear.weight.data = weights[None].float()
    model = nn.Sequential(nn.Flatten(), linear)
    keep = masks_of(maps, (fraction,), ("morf",)).keep[:, 0, 0]
    fill = exactly_filled(images, keep) - images.double()
    expected = fill.flatten(1) @ weights
    result = road(model, images, maps, targets=0, removed=(fraction,), order="morf", noise=0.0, score="logit")
    assert expected.abs().min() > 1e-2
    assert (result.score - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("metric", METRICS.values(), ids=str)
def test_every_metric_of_the_table_runs_and_says_what_its_sign_means(metric):
    images, maps = case()
    result = evaluate(metric.name, network(), images, maps)
    assert result.metric is metric
    assert result.score.shape == result.before.shape == (3,)
    assert result.score.isfinite().all()
    assert metric.reading in repr(result)
    assert ("higher" if metric.higher_is_better else "lower") in repr(result)
    assert ":" in metric.reading
    assert metric.paper


@pytest.mark.parametrize(
    "removal", [Impute(noise=0.0), Zero(), Mean(), Blur()], ids=lambda r: type(r).__name__
)
def test_removal_changes_removed_pixels_alone(removal):
    images, maps = case()
    keep = masks_of(maps, (0.4,), ("morf",)).keep[:, 0, 0]
    perturbed = remove(images, keep, removal, [0, 1, 2])
    kept = keep[:, None].expand_as(images)
    assert torch.equal(perturbed[kept], images[kept])
    assert (perturbed[~kept] != images[~kept]).float().mean() > 0.99


@pytest.mark.parametrize("removal", [Impute(), Zero(), Mean(), Blur()], ids=lambda r: type(r).__name__)
def test_more_masks_than_images_take_the_images_again(removal):
    images, maps = case()
    keep = masks_of(maps, (0.2, 0.6), ("morf",)).keep[:, 0].transpose(0, 1).flatten(0, 1)
    together = remove(images, keep, removal, range(6))
    apart = [remove(images, keep[k : k + 3], removal, range(k, k + 3)) for k in (0, 3)]
    assert torch.allclose(together, torch.cat(apart), rtol=0, atol=1e-5)


def test_zero_mean_and_blur_are_what_they_say():
    images, maps = case()
    keep = masks_of(maps, (1.0,), ("morf",)).keep[:, 0, 0]
    assert (remove(images, keep, Zero(), [0] * 3) == 0).all()
    mean = images.mean((2, 3), keepdim=True).expand_as(images)
    assert torch.allclose(remove(images, keep, Mean(), [0] * 3), mean, atol=1e-6)
    blurred = remove(images, keep, Blur(sigma=2 / SIZE), [0] * 3)
    x = torch.arange(-6, 7, dtype=torch.float64)
    bell = torch.exp(-(x**2) / 8) / torch.exp(-(x**2) / 8).sum()
    centre = images[1, 2, 10:23, 9:22].double()
    assert blurred[1, 2, 16, 15].item() == pytest.approx(
        (bell[:, None] * bell * centre).sum().item(), abs=1e-5
    )


def test_areas_drops_and_increases_follow_from_the_curve():
    curve = torch.tensor([[[0.9, 0.5, 0.1]], [[0.2, 0.2, 0.2]]])
    before = torch.tensor([0.9, 0.1])
    deletion = with_removal(METRICS["deletion"], Zero(), (0.0, 0.5, 1.0))
    assert summarise(deletion, before, curve).tolist() == pytest.approx([0.5, 0.2])
    assert summarise(METRICS["drop"], before, curve[:, :, 1:2]).tolist() == pytest.approx([0.4, 0.0])
    assert summarise(METRICS["increase"], before, curve[:, :, 1:2]).tolist() == [0.0, 1.0]
    uneven = with_removal(METRICS["deletion"], Zero(), (0.0, 0.2, 1.0))
    assert summarise(uneven, before, curve)[0].item() == pytest.approx(0.2 * 0.7 + 0.8 * 0.3)


def test_deletion_and_insertion_start_and_end_at_the_same_images():
    images, maps = case()
    model = network()
    deletion, insertion = (evaluate(name, model, images, maps) for name in ("deletion", "insertion"))
    assert torch.allclose(deletion.curve[:, 0, 0], deletion.before)
    assert torch.allclose(insertion.curve[:, 0, 0], insertion.before)
    nothing = model(torch.zeros_like(images)).softmax(1)
    rows = torch.arange(3)
    assert torch.allclose(deletion.curve[:, 0, -1], nothing[rows, deletion.targets.index])


def test_batches_change_neither_noise_nor_ties():
    images, maps = case(4)
    maps = (maps * 3).floor()
    model = network()
    scores = [road(model, images, maps, noise=0.1, batch=size).score for size in (None, 1, 5)]
    assert torch.allclose(scores[0], scores[1], atol=1e-6)
    assert torch.allclose(scores[0], scores[2], atol=1e-6)
    assert not torch.allclose(scores[0], road(model, images, maps, noise=0.1, seed=1).score, atol=1e-6)


def test_noise_in_pixels_is_divided_by_the_channels_spread():
    images, _ = case(1)
    images = torch.zeros_like(images)
    maps = torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    seen = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2))
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    road(
        model,
        images,
        maps,
        removed=(0.9,),
        order="morf",
        noise=0.01,
        noise_space="pixels",
        std=(0.1, 0.2, 0.4),
    )
    drawn = seen[-1][0][:, seen[-1][0].abs().sum(0) > 0].std(1)
    assert drawn.tolist() == pytest.approx([0.1, 0.05, 0.025], rel=0.1)


def test_one_baseline_forward_and_full_batches():
    images, maps = case(4)
    sizes = []
    model = network()
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    road(model, images, maps, removed=(0.1, 0.2, 0.3, 0.4, 0.5), batch=16)
    assert sizes[:3] == [
        4,
        4,
        5,
    ]  # as they are, whether images mix (once), the proof that rows are independent
    assert sizes[3:] == [16, 16, 8]
    sizes.clear()
    known = network()(images)
    evaluate("road", model, images, maps, before=known)
    assert sizes == [4] * 8  # a CPU gains nothing by more
    sizes.clear()
    evaluate("road", model, images[:1], maps[:1], before=known[:1])
    assert sizes == [2, 8]


def test_an_explanation_is_scored_as_it_is():
    images, _ = case()
    model = network()
    found = explain(model, images, "hirescam", "3")
    result = evaluate(
        "road", model, images, found.maps["hirescam"], targets=found.targets, before=found.logits
    )
    assert torch.equal(result.targets.index, model(images).argmax(1))


def test_nothing_is_left_behind():
    images, maps = case()
    model = network().train()
    model[1].eval()
    state = torch.get_rng_state()
    stored = {name: value.clone() for name, value in model.state_dict().items()}
    road(model, images, maps)
    assert model.training
    assert not model[1].training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()

    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    failing = nn.Sequential(nn.Flatten(), Failing()).train()
    with pytest.raises(RuntimeError, match="broken"):
        road(failing, images, maps)
    assert failing.training


def test_the_callers_autocast_is_used():
    images, maps = case()
    seen = []
    model = network()
    model[0].register_forward_hook(lambda _m, _a, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = road(model, images, maps, noise=0.0)
    assert set(seen) == {torch.bfloat16}
    assert half.score.dtype == torch.float32
    assert (half.score - road(model, images, maps, noise=0.0).score).abs().max() < 0.02


def test_it_runs_in_inference_mode_and_on_compiled_wrappers():
    images, maps = case()
    model = network()
    expected = road(model, images, maps).score
    with torch.inference_mode():
        assert torch.equal(road(model, images, maps).score, expected)


def test_one_logit_is_scored_by_sigmoid():
    images, maps = case()
    model = network(outputs=1)
    result = road(model, images, maps, targets=0, score="sigmoid", noise=0.0)
    assert torch.allclose(result.before, model(images).sigmoid()[:, 0])
    assert result.score.abs().max() > 1e-4


def test_scores_may_be_any_function_and_targets_any_callable():
    images, maps = case()
    model = network()
    margin = road(model, images, maps, targets=lambda row: row[1] - row[0], score="logit", noise=0.0)
    assert torch.allclose(margin.before, model(images)[:, 1] - model(images)[:, 0])
    squared = road(model, images, maps, targets=2, score=lambda outputs: outputs**2, noise=0.0)
    assert torch.allclose(squared.before, model(images)[:, 2] ** 2)


def test_empty_maps_are_scored_like_random_ones_and_removed_tells_of_thresholds():
    images, _ = case()
    result = road(network(), images, torch.zeros(3, SIZE, SIZE), removed=(0.3,))
    assert result.removed.flatten().tolist() == pytest.approx([0.3] * 6, abs=1e-3)
    threshold = road(network(), images, torch.zeros(3, SIZE, SIZE), removed=(0.3,), ties="threshold")
    assert (threshold.removed == 1).all()


def test_targets_out_of_range_are_found_also_where_they_were_not_looked_at():
    images, maps = case()
    beyond = ClassTargets(torch.tensor([0, 1, 3]), beyond=torch.tensor(True))
    with pytest.raises(IndexError, match="classes 0 to 3"):
        road(network(), images, maps, targets=beyond)


def test_the_table_is_made_of_known_parts():
    assert list(METRICS) == [metric.name for metric in METRICS.values()]
    orders = {m.perturbation.orders for m in METRICS.values() if isinstance(m.perturbation, Remove)}
    assert orders == {("lerf", "morf"), ("morf",), ("lerf",)}

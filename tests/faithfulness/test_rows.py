"""Every forward holds the caller's images in the caller's order: models with an input of their own for each image."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import xaimed_core.compat.metrics.road as compat
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget
from xaimed_core.faithfulness import evaluate, masks_of, remove, road, road_table
from xaimed_core.faithfulness.removal import Impute
from xaimed_core.input_probe import masked_scores
from xaimed_core.rows import DependentRowsError, Proof, outputs_of_each, rows_per_forward
from xaimed_core.targets import ClassTargets

SIZE = 20
FRACTIONS = (0.2, 0.6)


class WithSide(nn.Module):
    """Reads ``side [n, 2]`` beside the images, a row for each, as multi-input models are wrapped for CAM packages."""

    def __init__(self, n, pairing="cat", side=None):
        super().__init__()
        random = torch.Generator().manual_seed(n)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.Linear(26, 3)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=random) / 3
        self.side = torch.randn(n, 2, generator=random) * 3 if side is None else side
        self.pairing = pairing
        self.counts = []

    def forward(self, images):
        self.counts.append(len(images))
        side = self.side.to(images.dtype)
        if self.pairing == "slice":
            side = side[: len(images)]
        elif self.pairing == "modulo":
            side = side[torch.arange(len(images)) % len(side)]
        return self.head(torch.cat([self.features(images), side], 1))

    def alone(self, i):
        """The same network for image i alone."""
        model = WithSide(len(self.side), side=self.side[i : i + 1]).double().eval()
        model.features.load_state_dict(self.features.state_dict())
        model.head.load_state_dict(self.head.state_dict())
        return model


def case(n, pairing="cat"):
    random = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, SIZE, SIZE, generator=random)
    maps = (torch.rand(n, SIZE, SIZE, generator=random) * 3).floor()  # many ties
    return WithSide(n, pairing).eval(), images, maps, torch.arange(n) % 3


def road_one_by_one(model, images, maps, classes, removed, noise):
    """The curve ``[n, o, f]`` in float64, image by image, with the side input of that image."""
    masks = masks_of(maps, removed, ("lerf", "morf")).keep
    each = masks.shape[1] * masks.shape[2]
    curve = torch.empty(masks.shape[:3], dtype=torch.float64)
    for i in range(len(images)):
        alone = model.alone(i)
        for k in range(each):
            o, f = divmod(k, len(removed))
            seen = remove(images[i : i + 1], masks[i, o, f][None], Impute(noise), [i * each + k])
            curve[i, o, f] = alone(seen.double()).softmax(1)[0, classes[i]]
    return curve


@pytest.mark.parametrize("pairing", ["cat", "slice", "modulo"])
@pytest.mark.parametrize("n", [1, 2, 40])
@torch.no_grad()
def test_road_pairs_every_image_with_its_side_input(n, pairing):
    model, images, maps, classes = case(n, pairing)
    expected = road_one_by_one(model, images, maps, classes, FRACTIONS, 0.05)
    found = road(model, images, maps, targets=classes, removed=FRACTIONS, noise=0.05)
    assert n == 1 or expected.std() > 0.05
    assert (found.curve - expected).abs().max() < 1e-5
    table = road_table(model, images, {"mine": maps}, targets=classes, removed=FRACTIONS, noise=0.05)
    assert (table.rows["mine"].curve - expected).abs().max() < 1e-5


@pytest.mark.parametrize("n", [1, 2, 40])
@torch.no_grad()
def test_scorecam_pairs_every_image_with_its_side_input(n):
    model, images, _, classes = case(n)
    maps = torch.randn(n, 5, 4, 4, generator=torch.Generator().manual_seed(2))
    found = masked_scores(model, images, maps, ClassTargets(classes))
    expected = torch.empty(n, 5, dtype=torch.float64)
    for i in range(n):
        alone = model.alone(i)
        for c in range(5):
            up = nn.functional.interpolate(maps[i, c].double()[None, None], (SIZE, SIZE), mode="bilinear")
            mask = (up - up.min()) / (up.max() - up.min())
            expected[i, c] = alone(images[i : i + 1].double() * mask)[0, classes[i]]
    assert expected.std() > 0.05
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["ROADCombined", "ROADMostRelevantFirstAverage"])
@pytest.mark.parametrize("n", [1, 2, 40])
def test_compat_pairs_every_image_with_its_side_input(n, name):
    model, images, maps, classes = case(n)
    metric = getattr(compat, name)(percentiles=[20, 50, 80], noise=0.0)
    found = metric(images, maps.numpy(), [ClassifierOutputTarget(c) for c in classes], model)
    expected = [
        metric(
            images[i : i + 1].double(),
            maps[i : i + 1].numpy(),
            [ClassifierOutputTarget(classes[i])],
            model.alone(i),
        )
        for i in range(n)
    ]
    assert n == 1 or np.std(expected) > 1e-2
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-4)


@pytest.mark.parametrize("pairing", ["cat", "slice"])
@pytest.mark.parametrize("batch", [1, 3, 12, 16])
def test_a_batch_that_would_tear_images_from_their_side_input_is_refused(pairing, batch):
    model, images, maps, _ = case(4, pairing)
    with pytest.raises(
        ValueError, match=rf"(?s)batch={batch} changes which images share.*leave batch out"
    ) as caught:
        road(model, images, maps, batch=batch)
    assert str(caught.value).count("\n") < 3


@pytest.mark.parametrize("flag", [0, 3])
def test_a_side_input_that_few_images_differ_in_is_noticed(flag):
    """Slices of a flag that one image has: a sample of the images would pass."""
    model, images, maps, _ = case(8, "slice")
    model.side = torch.zeros(8, 2).index_fill(0, torch.tensor(flag), 3.0)
    with pytest.raises(ValueError, match="changes which images share a forward"):
        road(model, images, maps, batch=4)


def test_the_callers_own_count_needs_no_proof():
    model, images, maps, _ = case(4)
    road(model, images, maps)  # which also looks whether images mix, once
    for batch in (None, 4, 7):  # 7 rows hold 4 images once
        model.counts.clear()
        road(model, images, maps, removed=FRACTIONS, batch=batch)
        assert model.counts == [4] * 5


def test_the_proof_is_made_again_in_every_call():
    model, images, maps, _ = case(4)
    model.side = torch.zeros(1, 2).expand(4, 2)
    model.pairing = "modulo"
    road(model, images, maps, batch=8)
    model.side = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    model.pairing = "slice"
    with pytest.raises(ValueError, match="changes which images share a forward"):
        road(model, images, maps, batch=8)


class OverTheBatch(nn.Module):
    def forward(self, images):
        values = images.mean((2, 3))
        return values - values.mean(0)


def test_what_depends_on_the_other_images_is_no_independent_row():
    images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = OverTheBatch()
    with pytest.raises(DependentRowsError):
        Proof(model, images, model(images), None).finish(6)
    for rows in (images, images.index_fill(0, torch.tensor(2), torch.nan)):
        Proof(plain, rows, plain(rows), None).finish(6)


def perturbed(n, ks):
    return torch.cat([torch.arange(n).view(n, 1, 1, 1) + 100.0 * k for k in ks])


@pytest.mark.parametrize(("count", "n", "rows"), [(7, 3, 3), (7, 3, 6), (7, 3, 2), (7, 3, 100), (1, 1, 1)])
def test_outputs_of_each_perturbation_keep_images_and_order(count, n, rows):
    held = []

    class Identity(nn.Module):
        def forward(self, images):
            held.append(len(images))
            return images.flatten(1)

    found = list(outputs_of_each(Identity(), partial(perturbed, n), count, n, rows))
    assert torch.equal(torch.cat(found), perturbed(n, range(count)).flatten(1))
    assert max(held) <= rows
    assert rows < n or all(one % n == 0 for one in held)


def test_larger_batches_are_taken_where_they_pay():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(8, 3, 8, 8)
    assert [rows_per_forward(model, images[:n], None, 8) for n in (1, 2, 3, 8)] == [8, 8, 3, 8]
    assert [rows_per_forward(model, images[:1], None, count) for count in (1, 3, 4)] == [1, 1, 4]
    assert rows_per_forward(model, images[:3], None, 8, batch=8) == 6
    assert rows_per_forward(model, images, None, 8, batch=3) == 3


class Slowing(nn.Module):
    """A network on a clock of its own, on which up to ``best`` rows of a forward take 1 s each, and others 2 s."""

    def __init__(self, best, monkeypatch):
        super().__init__()
        self.best, self.now, self.counts = best, 0.0, []
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        monkeypatch.setattr("xaimed_core.chunks.time.perf_counter", lambda: self.now)

    def forward(self, images):
        self.counts.append(len(images))
        self.now += 1 + len(images) * (1 if len(images) <= self.best else 2)
        return self.pool(images)


@pytest.mark.parametrize(("n", "rows"), [(40, 8), (9, 5), (12, 6), (16, 8)])
def test_a_batch_larger_than_the_fastest_is_split_and_measured_once(n, rows, monkeypatch):
    model = Slowing(8, monkeypatch).eval()
    _, images, maps, _ = case(n)
    first = road(model, images, maps)
    assert model.counts[:9] == [n, 8, 8, 4, 4, 8, 16, n, 8]  # as given, whether images mix, the timed proof
    assert max(model.counts[9:]) <= 8
    model.counts.clear()
    second = road(model, images, maps)
    assert torch.equal(first.curve, second.curve)
    assert model.counts[0] == n
    assert sum(model.counts) == n + (n + 1) + 8 * n
    parts = -(-n // rows)
    assert model.counts[-parts:] == [rows] * (parts - 1) + [n - rows * (parts - 1)]


def test_outputs_that_are_known_are_the_proof_and_no_forward_is_as_large_as_the_batch(monkeypatch):
    model = Slowing(8, monkeypatch).eval()
    _, images, maps, _ = case(40)
    expected = road(model, images, maps)
    model.counts.clear()
    found = road(model, images, maps, before=model.pool(images))
    assert sum(model.counts) == 41 + 8 * 40
    assert max(model.counts) == 8
    torch.testing.assert_close(found.score, expected.score)


def test_scorecam_measures_how_many_channels_share_a_forward(monkeypatch):
    model = Slowing(16, monkeypatch).eval()
    _, images, _, classes = case(4)
    maps = torch.rand(4, 80, 4, 4)
    masked_scores(model, images, maps, ClassTargets(classes))
    assert model.counts == [4] * 5 + [8, 16, 32, 4] + [16] * 21


def test_a_batch_that_is_fastest_as_given_is_left_and_needs_no_proof_again(monkeypatch):
    model = Slowing(10**6, monkeypatch).eval()
    _, images, maps, _ = case(32)
    road(model, images, maps)
    model.counts.clear()
    road(model, images, maps)
    assert model.counts == [32] * 9


def test_fewer_perturbations_share_a_forward_where_memory_runs_out():
    held = []

    class Small(nn.Module):
        def forward(self, images):
            held.append(len(images))
            if len(images) > 5:
                raise torch.OutOfMemoryError("out of memory")
            return images.flatten(1)

    found = list(outputs_of_each(Small(), partial(perturbed, 2), 7, 2, 12))
    assert torch.equal(torch.cat(found), perturbed(2, range(7)).flatten(1))
    assert held[:3] == [12, 6, 2]
    n = 7
    found = list(outputs_of_each(Small(), partial(perturbed, n), 2, n, 6))
    assert torch.equal(torch.cat(found), perturbed(n, range(2)).flatten(1))
    with pytest.raises(torch.OutOfMemoryError):
        list(outputs_of_each(Small(), partial(perturbed, n), 2, n, 7))


@pytest.mark.parametrize("metric", ["road", "insertion"])
def test_neither_noise_nor_ties_depend_on_the_batch(metric):
    _, images, maps, _ = case(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    evaluate(metric, model, images, maps)  # which also looks whether images mix, once
    seen = {}
    for batch in (None, 1, 3, 8):
        inputs = []
        handle = model.register_forward_pre_hook(lambda _, args, kept=inputs: kept.append(args[0].clone()))
        evaluate(metric, model, images, maps, batch=batch, seed=3)
        handle.remove()
        seen[batch] = torch.cat(inputs[1 if batch is None else 2 :])
    assert all(torch.equal(each, seen[None]) for each in seen.values())

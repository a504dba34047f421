"""Maps beside baselines, and the parts of the study on a folder of phantoms."""

import pytest
import torch
from PIL import Image
from torch import nn

from xaimed_bench.cli import main
from xaimed_bench.data import phantoms
from xaimed_bench.models import build_model
from xaimed_bench.study.split import split_of
from xaimed_bench.study.training import accuracy, train_classifier
from xaimed_core.faithfulness import BLUR_BIAS, blurred, centre_gaussian, random_maps, road, road_table
from xaimed_core.methods import PAPER

SIZE = 24


def case():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )
    images = torch.randn(4, 3, SIZE, SIZE)
    return model.eval(), images, {"first": torch.rand(4, SIZE, SIZE), "second": torch.rand(4, SIZE, SIZE)}


def test_every_table_has_the_baselines_and_says_what_signs_and_blur_mean():
    model, images, maps = case()
    calls = []
    model.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    table = road_table(model, images, maps, removed=(0.1, 0.5))
    assert list(table.rows) == [
        "first", "second", "random", "centre-Gaussian", "first, blurred", "second, blurred",
    ]  # fmt: skip
    assert calls == [4] * (
        1 + 6 * 4
    )  # one forward without perturbation serves all, and each holds all images
    text = table.to_markdown()
    assert BLUR_BIAS in text
    assert "positive is good" in text
    assert "negative: the removed pixels mattered" in text
    assert text.count("(baseline)") == 4


def test_rows_are_what_road_gives():
    model, images, maps = case()
    table = road_table(model, images, maps, removed=(0.1, 0.5), seed=3)
    alone = road(model, images, maps["second"], removed=(0.1, 0.5), seed=3)
    assert torch.allclose(table.rows["second"].score, alone.score, atol=1e-6)


def test_the_figure_draws_each_row_once_per_order():
    model, images, maps = case()
    figure = road_table(model, images, maps, removed=(0.1, 0.5)).figure()
    assert [len(panel.lines) for panel in figure.axes] == [6, 6]
    first = figure.axes[0].lines[0]
    assert first.get_xdata()[0] == 0
    assert len(first.get_ydata()) == 3


def test_bad_names_of_maps_are_named():
    model, images, maps = case()
    with pytest.raises(ValueError, match="no maps were given"):
        road_table(model, images, {})
    with pytest.raises(ValueError, match="random is the name of a baseline"):
        road_table(model, images, {"random": maps["first"]})


def test_baselines_are_seeded_centred_and_scaled():
    assert torch.equal(random_maps(2, (5, 6)), random_maps(2, (5, 6)))
    assert not torch.equal(random_maps(1, (5, 6), seed=0), random_maps(1, (5, 6), seed=1))
    bell = centre_gaussian(2, (9, 11))[1]
    assert bell.argmax() == 4 * 11 + 5
    assert torch.allclose(bell, bell.flip(0).flip(1))
    soft = blurred(torch.rand(3, 32, 32))
    assert torch.equal(soft.amin((1, 2)), torch.zeros(3))
    assert torch.equal(soft.amax((1, 2)), torch.ones(3))
    assert (blurred(torch.zeros(1, 8, 8)) == 0).all()


@pytest.fixture
def folder(tmp_path):
    """Two classes of 6 training and 3 test images, of which one leaks and one is there twice."""
    for split, count in (("Training", 6), ("Testing", 3)):
        for k, kind in enumerate(("mri", "skin")):
            (tmp_path / split / kind).mkdir(parents=True)
            pixels = phantoms(kind, count, size=SIZE, seed=10 * k + count).pixels
            for i, picture in enumerate(pixels):
                array = (picture.permute(1, 2, 0) * 255).byte().numpy()
                Image.fromarray(array).save(tmp_path / split / kind / f"{i}.png")
    leak = (tmp_path / "Training/mri/0.png").read_bytes()
    (tmp_path / "Testing/mri/leak.png").write_bytes(leak)
    (tmp_path / "Testing/skin/copy.png").write_bytes((tmp_path / "Testing/skin/0.png").read_bytes())
    return tmp_path


def test_test_images_that_leak_are_left_out(folder):
    split = split_of(folder, size=SIZE, train=None, test=100, seed=0)
    assert split.leaked == 1
    assert len(split.images) == 12
    assert len(split.test_images) == 6
    assert split.classes == ("mri", "skin")
    everything = {tuple(image.flatten().tolist()) for image in split.images}
    assert all(tuple(image.flatten().tolist()) not in everything for image in split.test_images)
    few = split_of(folder, size=SIZE, train=4, test=2, seed=0)
    assert few.labels.tolist().count(0) == few.labels.tolist().count(1) == 2
    assert sorted(few.test_labels.tolist()) == [0, 1]


def test_a_folder_without_splits_is_named(folder):
    with pytest.raises(ValueError, match="class folders below Training/ and Testing/"):
        split_of(folder / "Training", size=SIZE, train=None, test=4, seed=0)


def test_one_command_studies_a_folder(folder, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["--data", str(folder), "--out", str(out), "--images", "4", "--epochs", "1", "--size", "33"]
    assert main(["study", *asked]) == 0
    said = capsys.readouterr().out
    table = (out / "road.md").read_text()
    assert table in said
    assert all(f"| {name} |" in table for name in PAPER)
    assert table.count("(baseline)") == 2 + len(PAPER)
    with Image.open(out / "road.png") as picture:
        assert picture.width > picture.height > 100
    trained = build_model("resnet18", checkpoint=out / "resnet18.pt")
    assert trained.classes == ("mri", "skin")


def test_a_folder_that_cannot_be_studied_is_said_in_a_line(folder, tmp_path, capsys):
    for wrong, says in ((folder / "Training", "class folders below"), (tmp_path / "none", "none")):
        assert main(["study", "--data", str(wrong), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("xaimed study: ")
        assert says in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_training_is_seeded_and_leaves_the_random_state():
    images, labels = torch.randn(8, 3, SIZE, SIZE), torch.arange(8) % 2
    state = torch.get_rng_state()
    said = []
    models = [train_classifier(images, labels, 2, epochs=1, seed=1, say=said.append) for _ in range(2)]
    assert torch.equal(state, torch.get_rng_state())
    assert not models[0].training
    assert torch.equal(models[0](images), models[1](images))
    assert "epoch 1 of 1" in said[0]
    assert 0 <= accuracy(models[0], images, labels, "ab") <= 1
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        train_classifier(images, labels, 2, epochs=0)

"""`xaimed train`: its recipes, what it writes, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.bench.study.train.conftest import about, equal
from xaimed_bench.networks import open_network
from xaimed_bench.study.train.images import batches_of
from xaimed_bench.study.train.recipe import RECIPES, dropout_seed, flips_of, order_of, rate_at


# ------------------------------------------------------------------------------------------------ the recipes
def test_the_papers_recipe_is_the_papers():
    paper = RECIPES["paper"]
    assert (paper.rate, paper.momentum, paper.weight_decay, paper.epochs) == (1e-3, 0.9, 5e-4, 30)
    assert (paper.schedule, paper.smoothing, paper.flips, paper.patience) == ("constant", 0.0, False, 0)
    assert {rate_at(paper, step, 90) for step in range(90)} == {1e-3}


def test_a_one_cycle_rate_rises_from_a_25th_to_the_top_and_falls_to_nothing():
    recipe = replace(RECIPES["finetune"], rate=0.5)
    rates = [rate_at(recipe, step, 100) for step in range(101)]
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert (rates[0], rates[30], rates[100]) == pytest.approx((0.5 / 25, 0.5, 0.0))
    assert (rates[15], rates[65]) == pytest.approx((0.5 * 26 / 50, 0.25))


def test_chance_follows_from_the_seed_and_the_epoch_alone():
    assert sorted(order_of(3, 1, 50)) == list(range(50))
    assert order_of(3, 1, 50) == order_of(3, 1, 50)
    assert len({tuple(order_of(seed, epoch, 50)) for seed in range(3) for epoch in range(3)}) == 9
    assert 300 < flips_of(0, 0, 800).sum() < 500
    assert not np.array_equal(flips_of(0, 0, 800), flips_of(0, 1, 800))
    assert len({dropout_seed(0, step, rank) for step in range(20) for rank in range(2)}) == 40


@pytest.mark.parametrize(("count", "sizes"), [(8, [4, 4]), (9, [4, 4]), (10, [4, 4, 2]), (1, [1]), (0, [])])
def test_a_last_batch_of_one_image_is_left_out(count, sizes):
    assert [part.stop - part.start for part in batches_of(count, 4)] == sizes


def test_a_trained_network_says_all_there_is_to_know_of_it(train, capsys):
    assert train("out", "--epochs", "6", "--seed", "3") == 0
    found, network = about("out"), open_network("fewnets:build", checkpoint="out/checkpoint.safetensors")
    assert (network.classes, network.size) == (("dark", "light"), 32)
    assert network.temperature == found["temperature"]
    assert network.data == found["settings"]["data"]
    assert network.recipe["recipe epochs"] == "6"
    rows = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    assert rows == found["log"]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert [score["count"] for score in found["scores"]] == [12, 11]
    assert found["scores"][0]["accuracy"] > 0.8
    said = capsys.readouterr()
    assert "all test images: " in said.out
    assert "of 12 right" in said.out
    assert "1 of 12 testing images are byte-identical to a training image" in said.err
    assert {path.name for path in Path("out").iterdir()} == {
        "checkpoint.safetensors", "log.jsonl", "state", "train.json",
    }  # fmt: skip


def test_training_stops_where_validation_gets_no_better_and_keeps_the_best(train):
    assert train("out", "--epochs", "40", "--lr", "3", "--schedule", "constant") == 0
    found = about("out")
    losses = [row["validation_loss"] for row in found["log"]]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + RECIPES["finetune"].patience < 40
    assert train("best", "--epochs", str(best + 1), "--lr", "3", "--schedule", "constant") == 0
    assert equal("out", "best")


def test_another_seed_gives_other_weights(train):
    for seed in ("1", "2"):
        assert train(seed, "--epochs", "1", "--seed", seed) == 0
    assert not equal("1", "2")


def test_a_loss_that_is_not_finite_stops_in_one_line(train, capsys):
    assert train("out", "--epochs", "9", "--lr", "1e30", "--precision", "float32", model="fewnets:plain") == 2
    assert "is not finite; begin again with a lower --lr" in capsys.readouterr().err.splitlines()[-1]


def test_an_image_that_cannot_be_read_is_named_once_and_the_others_are_learnt(train, scans, capsys):
    (scans / "Training" / "dark" / "bad.png").write_bytes(b"no image")
    assert train("out", "--epochs", "2") == 0
    assert capsys.readouterr().err.count("Training/dark/bad.png is left out") == 1
    assert list(about("out")["data"]["unreadable"]) == ["Training/dark/bad.png"]


def test_a_batch_of_which_one_image_can_be_read_is_passed_over(train, scans):
    """BatchNorm after the last pooling has one value a channel there, of which it can learn nothing."""
    for name in sorted((scans / "Training" / "dark").iterdir())[:6]:
        name.write_bytes(b"no image")
    assert train("out", "--epochs", "1", "--batch", "2", model="resnet18") == 0


def test_an_epoch_that_learnt_nothing_is_no_training(train, scans, capsys):
    for name in (scans / "Training").rglob("*.png"):
        name.write_bytes(b"no image")
    assert train("out", "--epochs", "1") == 2
    assert "epoch 1 learnt nothing: no batch had two images that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("resnet5", (), "no network is called 'resnet5'"),
        ("fewnets:nothing", (), "fewnets:nothing cannot be imported"),
        ("fewnets:build", ("--init", "none.pth"), "--init none.pth: no such file"),
        ("fewnets:build", ("--init", "fewnets.py"), "fewnets.py is text"),
        ("fewnets:softened", ("--freeze", "features"), "does not end in a linear layer"),
    ],
)
def test_what_cannot_be_trained_is_one_line(model, options, words, train, capsys):
    assert train("out", *options, model=model) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_class_without_training_images_is_one_line(train, scans, capsys):
    (scans / "Testing" / "grey").mkdir()
    (scans / "Testing" / "dark" / "new0.png").rename(scans / "Testing" / "grey" / "new0.png")
    assert train("out") == 2
    assert "has no training image of the class grey" in capsys.readouterr().err.splitlines()[-1]

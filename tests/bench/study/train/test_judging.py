"""How often a trained network is right, and whether it knows how often."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from xaimed_bench.data.sets import Item, Leaking
from xaimed_bench.study.train.images import Outputs
from xaimed_bench.study.train.judging import calibration_error, scores, temperature_of


def test_the_temperature_that_was_put_in_is_found():
    torch.manual_seed(0)
    logits = torch.randn(4000, 3) * 2
    labels = torch.distributions.Categorical(logits=logits).sample()
    assert temperature_of(logits * 2.5, labels) == pytest.approx(2.5, rel=0.05)
    assert calibration_error(logits * 2.5, labels, 2.5) < 0.03 < calibration_error(logits * 2.5, labels, 1.0)
    assert temperature_of(logits[:0], labels[:0]) == 1.0
    assert temperature_of(logits, logits.argmax(1)) == 1.0, "all are met, and 0 would fit best"


def test_scores_leave_out_what_leaks_and_count_only_what_was_read():
    items = [Item(Path(name), name, "ab"[k % 2], "testing") for k, name in enumerate("uvwxyz")]
    chosen = torch.tensor([0, 1, 0, 0, 1, 1])
    outputs = Outputs(
        functional.one_hot(chosen, 2).float(),
        torch.tensor([0, 1, 0, 1, 0, 1]),
        torch.tensor([True] * 5 + [False]),
    )
    leaks = [Leaking("u", "bytes", "t"), Leaking("v", "near", "t")]
    found = [asdict(score) for score in scores(outputs, items, ("a", "b"), leaks)]
    assert [(score["count"], score["accuracy"]) for score in found] == [(5, 3 / 5), (4, 2 / 4), (3, 1 / 3)]
    assert found[0]["right"] == {"a": "2 of 3", "b": "1 of 2"}
    assert found[0]["precision"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found[0]["recall"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert len(scores(outputs, items, ("a", "b"), [])) == 1

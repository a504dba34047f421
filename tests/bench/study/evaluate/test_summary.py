"""What rows are summed up to: known means, intervals, tests and accuracies from rows written by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from xaimed_bench.study.evaluate.settings import Settings
from xaimed_bench.study.evaluate.shards import COLUMNS, shard_path, store
from xaimed_bench.study.evaluate.summary import RESAMPLES, summarise
from xaimed_reports.store.jsonform import UnusableError

N = 40
SETTINGS = Settings(
    network="Net", weights="0", init="by hand", layers={"last": "layer4"}, methods=("a", "b", "c"), metrics=("road",),
    steps=20, data="made", split="testing", images="0", count=N + 4, classes=("ill", "well"), size=32, batch=4,
    removed=(0.2, 0.8), tolerance=15.0, threshold=None, seed=0, version="0", torch="0", recipe={"init": "imagenet"},
)  # fmt: skip


def write(folder: Path, values: dict[tuple[str, str], np.ndarray]) -> None:
    """N images of two classes, every third one wrong, four a batch; the last batch could not be read."""
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(asdict(SETTINGS)))
    for k in range(N // 4):
        rows = []
        for i in range(4 * k, 4 * k + 4):
            label, right = ("ill", "well")[i % 2], i % 3 != 0
            predicted = label if right else ("well", "ill")[i % 2]
            about = (f"{i}.png", None, label, predicted, right, 0.9)
            rows += [(*about, layer, method, "road", found[i]) for (layer, method), found in values.items()]
            rows.append((*about, "", "network", "correct", float(right)))
        spent = {"peak_bytes": 1000 + k, **({} if k % 2 else {"maps": 0.1, "localisation": 0.01 * k})}
        store(folder, k, dict(zip(COLUMNS.names, zip(*rows, strict=True), strict=True)), [], spent)
    store(folder, N // 4, {}, [{"image": "x.png", "what": "cut short"}])


@pytest.fixture
def found(tmp_path: Path):
    drawn = np.random.default_rng(1)
    a = drawn.normal(0.3, 0.1, N)
    b = a - 0.1 + drawn.normal(0, 0.02, N)
    random = drawn.normal(0, 0.1, N)
    values = {("last", "a"): a, ("last", "b"): b, ("last", "c"): a.copy(), ("", "random"): random}
    write(tmp_path / "out", values)
    return values, summarise(tmp_path / "out", frozenset({"0.png", "1.png"}), frozenset({"2.png"}))


def test_means_are_those_of_every_group(found) -> None:
    values, e = found
    a = values["last", "a"].astype(np.float32)
    number = np.arange(N)
    groups = {
        "all": number >= 0, "correct": number % 3 != 0, "wrong": number % 3 == 0,
        "class ill": number % 2 == 0, "class well": number % 2 == 1,
    }  # fmt: skip
    for group, rows in groups.items():
        cell = e.cell("last", "a", "road", group)
        assert (cell.images, cell.mean) == (rows.sum(), pytest.approx(a[rows].mean()))
    assert {c.group for c in e.cells} == set(groups)
    assert e.cell("", "random", "road") is not None


def test_what_it_took_is_the_median_of_the_batches_that_were_timed(found) -> None:
    took = found[1].spent
    assert took.parts == {"maps": 0.1, "localisation": pytest.approx(0.04)}
    assert (took.whole, took.batches) == (pytest.approx(0.14), 5)
    assert (took.tenth_bytes, took.peak_bytes) == (1001, 1009), "of 11 batches two are the first tenth"
    maps = 3 + 1 * (3 + 1)
    assert took.needed == 1 + maps * 4, "ROAD at two fractions, in two orders"


def test_an_interval_is_the_percentiles_of_resampled_means(found) -> None:
    values, e = found
    a = values["last", "a"].astype(np.float32).astype(np.float64)
    drawn = np.random.default_rng(99).choice(a, (RESAMPLES * 5, N)).mean(1)
    cell = e.cell("last", "a", "road")
    assert [cell.low, cell.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.003)


def test_methods_that_differ_are_told_apart_and_equal_ones_are_not(found) -> None:
    _, e = found
    pairs = {(p.first, p.second): p for p in e.pairs}
    assert set(pairs) == {("a", "b"), ("a", "c"), ("b", "c")}, "baselines are not among the methods"
    assert pairs["a", "b"].differ
    assert pairs["a", "b"].mean == pytest.approx(0.1, abs=0.01)
    assert pairs["a", "b"].p < 1e-6
    assert not pairs["a", "c"].differ
    assert (pairs["a", "c"].p, pairs["a", "c"].mean) == (1, 0)


def test_accuracy_is_with_and_without_what_training_holds(found) -> None:
    _, e = found
    right = np.arange(N) % 3 != 0
    expected = [(N, right.mean()), (N - 2, right[2:].mean()), (N - 3, right[3:].mean())]
    assert [(a.images, a.value) for a in e.accuracy] == [(n, pytest.approx(v)) for n, v in expected]
    assert e.recipe == {"init": "imagenet"}


def test_holm_needs_more_of_a_p_value_the_more_tests_there_are(tmp_path: Path) -> None:
    """Ten signs of ten agree: p = 1/512 alone. Among 55 pairs of equal promise none may be believed."""
    few = [0.01 * (i + 1) for i in range(10)] + [np.nan] * (N - 10)
    one = {("last", "a"): np.array(few), ("last", "b"): np.zeros(N)}
    drawn = np.random.default_rng(0)
    more = {("last", f"m{k}"): drawn.normal(0, 0.01, N) for k in range(9)}
    for name, values, believed in (("one", one, True), ("many", {**one, **more}, False)):
        write(tmp_path / name, values)
        e = summarise(tmp_path / name, frozenset(), frozenset())
        (p,) = [p for p in e.pairs if (p.first, p.second) == ("a", "b")]
        assert (p.images, p.p, p.differ) == (10, pytest.approx(1 / 512), believed)


def test_a_damaged_file_is_named(tmp_path: Path, found) -> None:
    shard_path(tmp_path / "out", 3).write_bytes(b"PAR1 nothing")
    with pytest.raises(UnusableError, match=r"batch-000003\.parquet: .*remove that file and give --resume"):
        summarise(tmp_path / "out", frozenset(), frozenset())

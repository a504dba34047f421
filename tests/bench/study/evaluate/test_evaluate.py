"""`xaimed evaluate` on small images: what stops is resumed, what is shared is the same, what differs is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bench.study.conftest import scan
from xaimed_bench.cli import main
from xaimed_bench.study.evaluate import run as running
from xaimed_bench.study.evaluate.shards import read, shard_path
from xaimed_reports.study.evaluation import load

OPTIONS = ("--model", "fewnets:plain", "--layer", "2", "--size", "32", "--batch", "2", "--device", "cpu",
           "--workers", "0", "--methods", "xgradcam,ablationcam,eigengradcam", "--no-images",
           "--metrics", "road,drop,increase,pointing,mass,like ablationcam")  # fmt: skip


def evaluate(out: str, *options: str, data: str = "scans") -> int:
    return main(["evaluate", data, "--out", out, *OPTIONS, *options])


def command(out: str, *options: str, start: tuple[str, ...] = ()) -> list[str]:
    return [
        sys.executable,
        *start,
        "-m",
        "xaimed_bench",
        "evaluate",
        "scans",
        "--out",
        out,
        *OPTIONS,
        *options,
    ]


def rows(out: str) -> dict[tuple[str, ...], float]:
    found = read(Path(out)).to_pydict()
    keys = zip(found["image"], found["layer"], found["method"], found["metric"], strict=True)
    return dict(zip(keys, found["value"], strict=True))


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    """The timing of methods has tests of its own."""
    monkeypatch.setattr("xaimed_bench.study.evaluate.costs.costs", lambda *_: ())


def test_every_image_has_every_method_and_metric_and_the_summary_is_their_mean(scans) -> None:
    assert evaluate("out") == 0
    found = rows("out")
    images = {image for image, *_ in found}
    assert len(images) == 12
    methods = {(layer, method) for _, layer, method, _ in found}
    assert methods == {
        ("2", "xgradcam"), ("2", "ablationcam"), ("2", "eigengradcam"), ("2", "eigengradcam, other sign"),
        ("2", "xgradcam, blurred"), ("", "random"), ("", "centre-Gaussian"), ("", "edges"), ("", "network"),
    }  # fmt: skip
    e = load(Path("out/summary.json"))
    cell = e.cell("2", "xgradcam", "road")
    assert cell is not None
    values = [found[image, "2", "xgradcam", "road"] for image in images]
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.low < cell.mean < cell.high
    right = [found[image, "", "network", "correct"] for image in images]
    assert [a.images for a in e.accuracy] == [12, 11, 11]
    assert e.accuracy[0].value == pytest.approx(np.mean(right))
    for parts in [(found[i, "2", "xgradcam", m] for m in ("road", "road-lerf", "road-morf")) for i in images]:
        combined, lerf, morf = parts
        assert combined == pytest.approx((lerf - morf) / 2, abs=1e-6)


def test_values_are_those_of_the_library(scans) -> None:
    """One image's ROAD, made again by `road` from the same seed."""
    import torch

    from xaimed_bench.data.sets import open_set
    from xaimed_bench.data.stream import stream
    from xaimed_bench.networks import open_network
    from xaimed_core import explain, road

    assert evaluate("out") == 0
    images = open_set("scans")
    items = images.split("testing")
    batch = next(iter(stream(items, images.classes, size=32, batch=2, on_unreadable=lambda _: None)))
    model = open_network("fewnets:plain", classes=images.classes).model
    e = explain(model, batch.images, "xgradcam", "2")
    expected = road(model, batch.images, e, method="xgradcam", seed=0).score
    stored = rows("out")
    got = torch.tensor([stored[name, "2", "xgradcam", "road"] for name in batch.names])
    assert torch.allclose(got, expected, atol=1e-6)


def test_the_forwards_that_it_says_it_needs_are_those_that_run(scans, monkeypatch) -> None:
    """Too few rows for a proof that they are independent: it would run more."""
    ran: list[int] = []
    score = running.score_batch

    def counted(model, images, *given, **options):
        handle = model.register_forward_pre_hook(lambda _, inputs: ran.append(len(inputs[0])))
        try:
            return score(model, images, *given, **options)
        finally:
            handle.remove()

    monkeypatch.setattr(running, "score_batch", counted)
    asked = ("--methods", "xgradcam", "--metrics", "road,drop,insertion,mass", "--steps", "3")
    assert evaluate("out", *asked, "--batch", "4", "--limit", "4") == 0
    took = load(Path("out/summary.json")).spent
    assert took is not None
    assert took.needed == 1 + 5 * (8 + 1 + 2) + 1, "5 maps; an image blurred whole serves all of them"
    assert sum(ran) == 4 * (took.needed - 1), "the scores of the images as they are came with the maps"
    assert (took.batches, took.batch, set(took.parts)) == (1, 4, {"maps", "faithfulness", "localisation"})
    assert took.whole == pytest.approx(sum(took.parts.values()))
    assert took.parts["faithfulness"] > took.parts["localisation"] > 0


def test_killed_it_is_resumed_to_the_same_rows(scans, environment) -> None:
    assert evaluate("whole") == 0
    with subprocess.Popen(
        command("killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as p:
        while not shard_path(Path("killed"), 1).exists() and p.poll() is None:
            time.sleep(0.002)
        assert p.poll() is None, "it ended before it was killed"
        os.kill(p.pid, signal.SIGKILL)
    assert not Path("killed/summary.json").exists()
    assert evaluate("killed") == 2
    assert evaluate("killed", "--resume") == 0
    assert rows("killed") == rows("whole")


def test_a_stopped_run_does_no_batch_twice(scans, monkeypatch) -> None:
    done: list[int] = []
    store = running.store

    def stop(folder, batch, *rest):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(batch)
        store(folder, batch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(running, "store", stop)
        assert evaluate("out") == 130
    monkeypatch.setattr(running, "store", lambda f, b, *rest: (done.append(b), store(f, b, *rest)))
    assert evaluate("out", "--resume") == 0
    assert sorted(done) == [0, 1, 2, 3, 4, 5]


def test_two_processes_write_the_rows_of_one(scans, environment) -> None:
    assert evaluate("one") == 0
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        command("two", start=start), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = rows("one"), rows("two")
    assert one.keys() == two.keys()
    assert max(abs(one[key] - two[key]) for key in one) <= 1e-6
    assert load(Path("one/summary.json")).cells == load(Path("two/summary.json")).cells


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seed", "1"), "weights: "),
        (("--batch", "3"), "batch: 2 there"),
        (("--layer", "0"), "layers: "),
    ],
)
def test_other_settings_are_refused_and_named(scans, options, named, capsys) -> None:
    assert evaluate("out") == 0
    before = rows("out")
    assert evaluate("out", *options, "--resume") == 2
    assert named in capsys.readouterr().err
    assert rows("out") == before


def test_two_runs_into_one_folder_are_refused(scans, capsys) -> None:
    from filelock import FileLock

    Path("out").mkdir()
    with FileLock("out/.lock"):
        assert evaluate("out") == 2
    assert capsys.readouterr().err.endswith(
        "out is in use by another run; wait for its end or give another --out\n"
    )
    assert not Path("out/settings.json").exists()


def test_what_cannot_be_read_is_named_and_the_run_goes_on(scans, capsys) -> None:
    Path("scans/Testing/dark/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Path("scans/Testing/light/empty.png").touch()
    assert evaluate("out") == 0
    said = capsys.readouterr().out
    assert "Testing/dark/broken.png: " in said
    assert "Testing/light/empty.png: " in said
    assert len({image for image, *_ in rows("out")}) == 12


def test_a_full_disk_loses_no_row_that_was_written(scans, monkeypatch, capsys) -> None:
    store = running.store

    def full(folder, batch, *rest):
        if batch == 2:
            raise OSError(28, "No space left on device", str(shard_path(folder, batch)))
        store(folder, batch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(running, "store", full)
        assert evaluate("out") == 2
    assert "batch-000002.parquet: No space left on device" in capsys.readouterr().err
    kept = rows("out")
    assert evaluate("out", "--resume") == 0
    assert kept.items() <= rows("out").items()


@pytest.fixture
def marked(scans) -> Path:
    """Six images with masks: right ones, an empty one, one of another size."""
    for k in range(6):
        picture = Image.open(scans / "Training" / ("dark", "light")[k % 2] / f"{k}.png")
        mask = np.zeros((40, 40), np.uint8)
        mask[8:20, 10:26] = 255 * (k != 3)
        for folder, image in (("images", picture), ("masks", Image.fromarray(mask))):
            path = scans.parent / "marked" / folder / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    Image.fromarray(np.full((9, 30), 255, np.uint8)).save(scans.parent / "marked/masks/5.png")
    return scans.parent / "marked"


def test_lesions_are_located_where_they_are_known(marked, scans, capsys) -> None:
    assert main(["train", "scans", "--model", "fewnets:plain", "--out", "net", "--size", "32", "--epochs", "1",
                 "--device", "cpu", "--threads", "1"]) == 0  # fmt: skip
    options = ("--checkpoint", "net/checkpoint.safetensors", "--split", "all")
    assert evaluate("out", *options, data="marked") == 0
    said = capsys.readouterr().out
    assert "images/3.png: " in said
    located = {image for image, _, method, metric in rows("out") if (method, metric) == ("xgradcam", "mass")}
    assert {"images/0.png", "images/1.png", "images/2.png", "images/4.png"} <= located
    assert "images/3.png" not in located
    masses = [
        v for (_, _, method, metric), v in rows("out").items() if (method, metric) == ("random", "mass")
    ]
    assert np.mean(masses) == pytest.approx(12 * 16 / 1600, abs=0.03)


def test_classes_that_the_network_does_not_know_are_named_and_can_be_renamed(scans, capsys) -> None:
    assert main(["train", "scans", "--model", "fewnets:plain", "--out", "net", "--size", "32", "--epochs", "1",
                 "--device", "cpu", "--threads", "1"]) == 0  # fmt: skip
    Path("scans/Testing/light").rename("scans/Testing/bright")
    Path("scans/Training/light").rename("scans/Training/bright")
    options = ("--checkpoint", "net/checkpoint.safetensors", "--limit", "4")
    assert evaluate("out", *options) == 2
    assert (
        "has the class 'bright', and the network knows dark, light; say which it is: --rename"
        in capsys.readouterr().err
    )
    assert evaluate("out", *options, "--rename", "bright=light") == 0
    assert load(Path("out/summary.json")).accuracy[0].value is not None


def test_the_report_shows_the_published_values_and_the_command(scans, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["xaimed", "evaluate", "folder/scans"])
    assert evaluate("out") == 0
    text = Path("out/report.md").read_text()
    assert "Published (arXiv 2503.08420): accuracy on skin 86.31 %" in text
    assert "Command: `xaimed evaluate scans`" in text
    page = Path("out/report.html").read_text()
    assert "<script" not in page
    assert json.loads(Path("out/settings.json").read_text())["methods"] == [
        "xgradcam",
        "ablationcam",
        "eigengradcam",
    ]


# ------------------------------------------------------------------------------------------- values and networks
def test_deletion_and_insertion_are_those_of_the_library_with_so_many_steps(scans) -> None:
    """The ends of the curves are found once for all maps, and the values are the same."""
    from xaimed_bench.data.sets import open_set
    from xaimed_bench.data.stream import stream
    from xaimed_bench.networks import open_network
    from xaimed_core import explain
    from xaimed_core.faithfulness import METRICS
    from xaimed_core.faithfulness import evaluate as faithfulness
    from xaimed_core.faithfulness.evaluation import with_removal

    assert evaluate("out", "--metrics", "deletion,insertion,road-morf", "--steps", "4") == 0
    images = open_set("scans")
    batch = next(iter(stream(images.split("testing"), images.classes, size=32, batch=2, on_unreadable=print)))
    model = open_network("fewnets:plain", classes=images.classes).model
    e = explain(model, batch.images, "ablationcam", "2")
    stored = rows("out")
    assert {metric for *_, method, metric in stored if method == "ablationcam"} == {
        "deletion", "insertion", "road-morf"}  # fmt: skip
    for name in ("deletion", "insertion"):
        metric = METRICS[name]
        metric = with_removal(metric, metric.perturbation.removal, (0, 0.25, 0.5, 0.75, 1))
        expected = faithfulness(metric, model, batch.images, e, seed=0).score.tolist()
        assert [stored[image, "2", "ablationcam", name] for image in batch.names] == pytest.approx(
            expected, abs=1e-6
        )


def test_every_row_says_whether_the_network_is_right_and_of_which_group_the_image_is(scans) -> None:
    assert evaluate("out", "--limit", "4") == 0
    for row in read(Path("out")).to_pylist():
        assert row["label"] == Path(row["image"]).parent.name
        assert row["correct"] == (row["label"] == row["predicted"])
        assert 0.5 <= row["confidence"] <= 1
        assert row["group"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layer", "5"), "plain on Testing/dark/new0.png"),
        (("--layer", "9"), "--layer 9: plain has no such module"),
        (("--methods", "gradcam,nothing"), "--methods: no 'nothing'; there are gradcam"),
        (("--metrics", ","), "--metrics: nothing given; there are road"),
        (("--model", "fewnets:none"), "fewnets:none cannot be imported"),
        (("--model", "fewnets:broken"), "broken on Testing/dark/new0.png"),
        (("--model", "fewnets:one"), "one on Testing/dark/new0.png"),
        (("--rename", "grey=dark"), "--rename grey: no such class; there are dark, light"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(scans, options, words, capsys) -> None:
    """A layer without places, or that is not there; a network that answers NaN, or with a single number."""
    more = """
class Broken(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * float("nan")

def broken(classes):
    return Broken(*plain(classes))

def one(classes):
    return nn.Sequential(*plain(classes), nn.Linear(classes, 1))
"""
    with Path("fewnets.py").open("a") as file:
        file.write(more)
    sys.modules.pop("fewnets", None)
    assert evaluate("out", *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_checkpoint_of_other_classes_is_refused_by_their_names(scans, capsys) -> None:
    assert main(["train", "scans", "--model", "fewnets:plain", "--out", "net", "--size", "32", "--epochs", "1",
                 "--device", "cpu", "--threads", "1"]) == 0  # fmt: skip
    for split in ("Training", "Testing"):
        Path("scans", split, "light").rename(Path("scans", split, "bright"))
    capsys.readouterr()
    assert evaluate("out", "--checkpoint", "net/checkpoint.safetensors") == 2
    said = capsys.readouterr().err
    assert "'bright'" in said
    assert "dark, light" in said
    assert not Path("out/rows").exists()


# ------------------------------------------------------------------------------------------------- thresholds
def box(image: str, line: str = "0 0.5 0.5 0.4 0.4") -> None:
    Path("scans", image).with_suffix(".txt").write_text(line)


def test_the_threshold_of_iou_is_the_best_on_validation(scans) -> None:
    from xaimed_bench.data.sets import open_set
    from xaimed_bench.data.stream import stream
    from xaimed_bench.networks import open_network
    from xaimed_core import explain
    from xaimed_core.localisation import best_threshold, evaluate_localisation

    images = open_set("scans")
    for item in (*images.split("validation"), *images.split("testing")):
        box(item.name)
    metrics = ("--metrics", "iou")
    assert evaluate("out", *metrics) == 0
    assert evaluate("fixed", *metrics, "--threshold", "0.3") == 0
    images = open_set("scans")
    model = open_network("fewnets:plain", classes=images.classes).model

    def explained(split, batch):
        read = stream(images.split(split), images.classes, size=32, batch=batch, on_unreadable=print)
        for part in read:
            yield part, explain(model, part.images, "xgradcam", "2")

    ((validation, e),) = explained("validation", 99)
    best = best_threshold(e, validation.lesion)
    for out, threshold in (("out", best), ("fixed", 0.3)):
        stored = rows(out)
        for part, e in explained("testing", 2):
            expected = evaluate_localisation(e, part.lesion, metrics="iou", threshold=threshold)[
                "iou"
            ].tolist()
            got = [stored[name, "2", "xgradcam", "iou"] for name in part.names]
            assert got == pytest.approx(expected, abs=1e-6)
    about = json.loads(Path("out/thresholds.json").read_text())
    assert about["images"] == len(images.split("validation"))
    assert load(Path("out/summary.json")).threshold == (
        f"for each layer and method the best on {about['images']} validation images"
    )
    assert load(Path("fixed/summary.json")).threshold == "0.3"


def test_a_box_outside_its_image_is_no_lesion(scans, capsys) -> None:
    box("Testing/dark/new0.png")
    box("Testing/dark/new2.png", "0 1.5 1.5 0.2 0.2")
    assert evaluate("out", "--metrics", "mass", "--limit", "4") == 0
    located = {image for image, *_, metric in rows("out") if metric == "mass"}
    assert located == {"Testing/dark/new0.png"}


def resident_bytes() -> int:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads what Linux says of a process")
def test_memory_does_not_grow_with_the_number_of_images(scans, monkeypatch) -> None:
    """Of 240 images of 128 pixels less than a quarter is held after the first 60."""
    for k in range(228):
        scan(scans / "Testing" / ("dark", "light")[k % 2] / f"more{k}.png", 1000 + k, (0.7, 1.5)[k % 2])
    held: list[int] = []
    store = running.store
    monkeypatch.setattr(running, "store", lambda *given: (store(*given), held.append(resident_bytes())))
    assert evaluate("out", "--size", "128", "--batch", "4", "--metrics", "drop", "--methods", "xgradcam") == 0
    assert len(held) == 60
    assert held[-1] - held[14] < (240 - 60) * 3 * 128 * 128 * 4 / 4

"""A stored profile card: read back as it was, shown in full, drawn under its own roofs."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from xaimed_bench.cli import main
from xaimed_reports.profile.card import (
    PARTS,
    Agreement,
    Card,
    EnergyUse,
    KernelShare,
    LargestBatch,
    MethodRate,
    PeakMemory,
    Predicted,
    PredictedTime,
    Rates,
    RoadRate,
    Roofs,
    Taken,
    card_beside,
    load_card,
    store_card,
)
from xaimed_reports.profile.card_markdown import card_markdown
from xaimed_reports.profile.roofline import predicted_roofline, roofline
from xaimed_reports.show.page import page
from xaimed_reports.store.devices import device_folder, device_name
from xaimed_reports.store.jsonform import UnreadableError
from xaimed_reports.store.records import Conditions, Gpu, Machine

STORED = sorted((Path(__file__).parents[2] / "reports" / "results").rglob("profile.json"))


def machine(cpu="AMD EPYC", threads=2, gpu=None):
    return Machine("Linux x86_64", cpu, 2, 2**33, threads, {"python": "3.11.7", "torch": "2.14.1"}, gpu)


def share(operation, case, flops, seconds):
    return KernelShare(operation, case, "cpu", 10**6, flops, seconds, 0.5, 0.4, 0.6, 0.7, "copy")


def full_card(**fields):
    parts = {
        "roofs": Roofs(1e10, 2**30, {"fp32": 2e11, "bf16": 1e12}, 1536, 2e-6, 3e-6),
        "methods": (
            MethodRate("plain forward", "fp32", 4, 31.0, 1.0, 1.0, 1.0),
            MethodRate("xgradcam", "fp32", 4, 30.0, 1.03, 1.02, 1.05),
            MethodRate("scorecam", "fp32", 4, reason="a forward pass per channel"),
        ),
        "kernels": (share("gradient_maps", "16x2048x7x7", 3e7, 2e-3), share("impute", "16x3", 4e8, 9e-3)),
        "predicted": Predicted(
            Rates(9e11, 3e12),
            "measured",
            "triton 3.8.0",
            (PredictedTime("impute", "16x3", 60, 10**6, 10**7, 5 * 10**6, 4e-6, 5e-6),),
        ),
        "road": RoadRate(4, 8, 2.5, 9.1, 0.04, 0.03, 0.05),
        "agreement": (
            Agreement("xgradcam", "bf16", 0.031, 0.011),
            Agreement("xgradcam", "compiled", reason="skipped: x"),
        ),
        "memory": (PeakMemory("xgradcam", 1, 2**20), PeakMemory("xgradcam", 8, 2**23)),
        "energy": (EnergyUse("xgradcam", 4, reason="permission denied"),),
        "largest": (LargestBatch("xgradcam", 1234, "computed"),),
        "taken": {"roofs": Taken("2026-01-02T03:04:05+00:00", 3.0, "abc", Conditions(0.1, 0.0, 0.4, 3, 2))},
    }
    return Card(machine(), "resnet50, layer4.2", **(parts | fields))


@pytest.mark.parametrize(
    ("cpu", "threads", "folder"),
    [
        ("AMD EPYC", 2, "amd-epyc-2-threads"),
        ("AMD EPYC 7B13 64-Core Processor", 1, "amd-epyc-7b13-1-thread"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", 8, "intel-xeon-8-threads"),
        ("Intel(R) Xeon(R) Processor", 2, "intel-xeon-2-threads"),
        ("Intel(R) Core(TM) i7-1185G7 @ 3.00GHz", 4, "intel-core-i7-1185g7-4-threads"),
    ],
)
def test_a_device_is_named_alike_everywhere(cpu, threads, folder):
    assert device_folder(machine(cpu, threads)) == folder
    gpu = Gpu("NVIDIA H200", None, "9.0", 2**37)
    assert device_name(machine(cpu, threads, gpu)) == "NVIDIA H200"
    assert device_folder(machine(cpu, threads, gpu)) == "nvidia-h200"


def test_a_stored_card_is_read_back_as_it_was(tmp_path):
    store_card(tmp_path / "new" / "profile.json", full_card())
    assert load_card(tmp_path / "new" / "profile.json") == full_card()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["profile.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "machine": 3}'])
def test_what_is_no_card_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "profile.json").write_text(text)
    with pytest.raises(UnreadableError, match=r"profile\.json") as refused:
        load_card(tmp_path / "profile.json")
    assert "\n" not in str(refused.value)
    assert card_beside(tmp_path / "bench.json", machine()) is None


def test_markdown_tells_every_part_and_why_something_is_missing():
    text = card_markdown(full_card(road=None, failed={"road": "RuntimeError: no"}), pictures=True)
    assert "# Profile of AMD EPYC, 2 threads" in text
    for said in (
        "10 GB/s", "30 (1.03x)", "- scorecam: a forward pass per channel", "50% [40%, 60%]", "not their GPU kernels",
        "![Roofline](profile.svg)", "Failed: RuntimeError: no", "3.1e-02 (1.1e-02)", "- xgradcam: skipped: x", "8 MiB",
        "- xgradcam: permission denied", "1,234", "measure again: roofs 40%",
        "![Predicted roofline](predicted.svg)", "3,000 GB a second (both measured here)",
        "| 1e+06 | 4 µs | 5 µs | 33% |",
    ):  # fmt: skip
        assert said in text, said


def test_a_part_that_was_not_measured_is_not_mentioned():
    text = card_markdown(Card(machine()))
    assert "#" not in text.removeprefix("# Profile of")
    assert "Measured" not in text
    assert "None" not in text


def test_a_part_that_failed_says_why_under_its_title_and_shows_no_table():
    text = card_markdown(full_card(failed={part: f"{part} broke" for part in PARTS}))
    assert re.findall(r"## .+\n\nFailed: (\w+) broke\n", text) == [*PARTS]
    assert "|" not in text


@pytest.mark.parametrize("stored", STORED, ids=lambda path: path.parent.name)
def test_a_committed_card_reads_as_its_figures_say(stored):
    assert stored.with_suffix(".md").read_text() == card_markdown(load_card(stored), pictures=True) + "\n"


def test_the_roofline_shows_each_operation_and_each_roof():
    drawn = roofline(full_card())
    ElementTree.fromstring(drawn)
    words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawn))
    for said in (
        "copy 10 GB/s",
        "fp32, 0.2 TFLOP/s",
        "bf16, 1 TFLOP/s",
        "16x2048x7x7",
        "gradient_maps",
        "impute",
    ):
        assert said in words, said
    assert drawn == roofline(full_card())
    assert roofline(full_card(kernels=None)) is None
    assert roofline(full_card(roofs=None)) is None


def test_the_predicted_roofline_shows_what_was_measured_of_the_same_kernel():
    card = full_card(kernels=(replace(share("impute", "16x3", 4e8, 9e-3), path="triton"),))
    words = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", predicted_roofline(card)))
    for said in (
        "issue rate, 900 G/s",
        "copy 3,000 GB/s",
        "16x3 33%",
        "16x3 measured",
        "AMD EPYC, 2 threads: predicted",
    ):
        assert said in words, said
    given = replace(card.predicted, how="given")
    words = " ".join(
        re.findall(r"<text[^>]*>([^<]*)</text>", predicted_roofline(replace(card, predicted=given)))
    )
    assert "Predicted, not measured" in words
    assert "16x3 measured" not in words
    assert predicted_roofline(full_card(predicted=None)) is None


def test_a_page_holds_the_roofline_of_a_card_of_the_same_device(make_run, make_row, tmp_path):
    stored = make_run(make_row())
    assert "data:image/svg+xml" not in page(stored, {})
    address = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page(stored, {}, full_card()))
    assert base64.b64decode(address[1]).decode() == roofline(full_card())
    store_card(tmp_path / "profile.json", full_card())
    assert card_beside(tmp_path / "bench.json", machine()) == full_card()
    assert card_beside(tmp_path / "bench.json", machine("another")) is None


def test_the_report_takes_the_card_beside_it_or_the_one_it_is_given(
    make_run, make_row, store, tmp_path, capsys
):
    stored = make_run(make_row(), machine=machine())
    path = tmp_path / "bench.json"
    store(stored, path)
    html = tmp_path / "out" / "page.html"

    def drawn(*words):
        assert main(["report", str(path), "--html", str(html), *words]) == 0
        return "data:image/svg+xml" in html.read_text()

    assert not drawn()
    store_card(tmp_path / "elsewhere" / "card.json", full_card())
    assert drawn("--profile", str(tmp_path / "elsewhere" / "card.json"))
    store_card(tmp_path / "profile.json", full_card())
    assert drawn()
    (tmp_path / "broken.json").write_text(json.dumps([]))
    assert main(["report", str(path), "--html", str(html), "--profile", str(tmp_path / "broken.json")]) == 2
    assert "broken.json" in capsys.readouterr().err

"""The profile card: every part measures something real, a broken one costs no other, and searches end."""

import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from xaimed_bench import profile as package
from xaimed_bench.cli import main
from xaimed_bench.measure import nvml
from xaimed_bench.measure.machine import machine_facts
from xaimed_bench.profile import agreement, choose_setting, measure_parts, methods, run
from xaimed_bench.profile.energy import RaplMeter, measure_energy
from xaimed_bench.profile.memory import bytes_per_image, find_largest, search_largest
from xaimed_bench.profile.variants import Variant, list_variants
from xaimed_core.methods import METHODS
from xaimed_kernels.operations import OPERATIONS, moved_bytes
from xaimed_reports.profile.card import PARTS, Card, PeakMemory, Rates, load_card
from xaimed_reports.store.records import Machine

CPU = torch.device("cpu")


def tiny():
    return replace(
        choose_setting(CPU, quick=True),
        model="resnet18",
        size=64,
        batch=1,
        batches=(1, 2),
        copy_bytes=2**16,
        matrix_side=64,
        kernel_images=1,
        budget_s=0.01,
        energy_s=0.01,
        counts=Path(__file__).parents[3] / "reports/results/counts.json",
        rates=Rates(927e9, 3e12),
    )


@pytest.fixture
def few_arms(monkeypatch):
    """Two variants and two methods: the others run the same code."""
    chosen = [v for v in list_variants(CPU) if v.name in ("fp32", "bf16")]
    for module in (methods, agreement):
        monkeypatch.setattr(module, "list_variants", lambda device: chosen)
        monkeypatch.setattr(module, "METHODS", {name: METHODS[name] for name in ("xgradcam", "scorecam")})


@pytest.fixture
def measured(few_arms):
    setting, kept = tiny(), []
    card = measure_parts(
        setting,
        Card(machine_facts(CPU), setting.subject_name),
        PARTS,
        keep=kept.append,
    )
    return card, kept


def test_every_part_of_a_card_is_measured_and_kept_at_once(measured):
    card, kept = measured
    assert card.failed == {}
    assert set(card.taken) == set(PARTS)
    assert [len(seen.taken) for seen in kept] == list(range(1, len(PARTS) + 1))
    assert card.roofs.copy_bytes_per_s > 0
    assert set(card.roofs.matrix_flops_per_s) == {"fp32", "bf16"}

    rates = {(row.method, row.variant): row for row in card.methods}
    assert rates["plain forward", "bf16"].forwards == 1
    assert rates["five together", "fp32"].images_per_s > 0
    assert rates["scorecam", "fp32"].images_per_s is None
    assert "per channel" in rates["scorecam", "fp32"].reason

    assert {row.operation for row in card.kernels} == {operation.name for operation in OPERATIONS}
    assert all(row.path == "cpu" and row.roof_share >= row.copy_share > 0 for row in card.kernels)
    assert {row.operation for row in card.predicted.rows} == {operation.name for operation in OPERATIONS}
    assert card.road.imputer_share > 0
    assert card.road.perturbed == 8

    off = {(row.method, row.variant): row.largest for row in card.agreement}
    assert off["xgradcam", "fp32"] < 1e-4 < off["xgradcam", "bf16"] < 0.5
    assert off["xgradcam", "compiled"] == off["xgradcam", "fp32"]
    assert {row.batch for row in card.memory} == {1, 2}


def test_a_part_that_breaks_is_named_and_the_next_one_is_measured(monkeypatch):
    def broken(setting, card):
        raise RuntimeError("no such thing")

    monkeypatch.setitem(run.MEASURES, "kernels", broken)
    monkeypatch.setitem(run.MEASURES, "memory", lambda setting, card: (PeakMemory("xgradcam", 1, 8),))
    before = Card(machine_facts(CPU), kernels=())
    card = measure_parts(tiny(), before, ["memory", "kernels"], keep=print)
    assert card.failed == {"kernels": "RuntimeError: no such thing"}
    assert card.memory == (PeakMemory("xgradcam", 1, 8),)
    assert "memory" in card.taken
    assert "kernels" not in card.taken
    assert card.kernels is None


@pytest.fixture
def parts_at_hand(monkeypatch):
    """A card whose parts take no time."""
    for name in PARTS:
        monkeypatch.setitem(run.MEASURES, name, lambda setting, card: None)
    monkeypatch.setattr(package, "choose_setting", lambda device, quick: tiny())


def test_what_was_finished_before_an_interruption_is_on_disk(parts_at_hand, monkeypatch, tmp_path):
    def interrupted(setting, card):
        raise KeyboardInterrupt

    monkeypatch.setitem(run.MEASURES, "memory", lambda setting, card: (PeakMemory("xgradcam", 1, 8),))
    monkeypatch.setitem(run.MEASURES, "energy", interrupted)
    assert main(["profile", "--device", "cpu", "--out", str(tmp_path), "--only", "memory,energy"]) == 130
    assert load_card(tmp_path / "profile.json").memory == (PeakMemory("xgradcam", 1, 8),)
    assert "xgradcam" in (tmp_path / "profile.md").read_text()


def test_parts_asked_for_join_the_stored_ones_of_the_same_machine(parts_at_hand, monkeypatch, tmp_path):
    words = ["profile", "--device", "cpu", "--out", str(tmp_path)]
    monkeypatch.setitem(run.MEASURES, "memory", lambda setting, card: (PeakMemory("xgradcam", 1, 8),))
    assert main([*words, "--only", "memory"]) == 0
    assert main([*words, "--only", "energy"]) == 0
    assert set(load_card(tmp_path / "profile.json").taken) == {"memory", "energy"}
    assert main(words) == 0
    assert set(load_card(tmp_path / "profile.json").taken) == {*PARTS} - {"predicted"}
    monkeypatch.setattr(Machine, "__eq__", lambda self, other: False)
    assert main([*words, "--only", "energy"]) == 0
    assert set(load_card(tmp_path / "profile.json").taken) == {"energy"}


def test_what_cannot_be_measured_is_refused_in_one_line(tmp_path, capsys):
    assert main(["profile", "--out", str(tmp_path), "--only", "roofs,nothing"]) == 2
    assert main(["profile", "--out", str(tmp_path), "--device", "nothing"]) == 2
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == ["xaimed profile"] * 2


@pytest.mark.parametrize(("fits", "guess"), [(1000, 900), (1000, 5000), (1000, 1000), (1, 64), (3, 1)])
def test_the_search_finds_the_largest_batch_to_within_its_tolerance(fits, guess):
    tried = []

    def why_not(batch):
        tried.append(batch)
        return "out of memory" if batch > fits else None

    found = search_largest(why_not, guess)
    assert fits - max(1, fits // 32 + 1) <= found.fits <= fits
    assert found.stopped_by == "out of memory"
    assert len(tried) <= 12


def test_a_search_that_never_fails_ends_and_one_that_never_fits_says_so():
    assert search_largest(lambda batch: None, 8).stopped_by is None
    assert search_largest(lambda batch: "too large", 8).fits == 0


def test_memory_of_an_image_is_its_share_of_the_peak_at_the_largest_batch():
    peaks = [PeakMemory("xgradcam", n, 80 + 10 * n) for n in (1, 8, 2)]
    assert bytes_per_image(peaks) == 20
    assert bytes_per_image([PeakMemory("xgradcam", 2, None)]) is None


def test_a_cpu_says_that_its_largest_batch_was_computed(monkeypatch):
    monkeypatch.setattr("xaimed_bench.profile.memory.free_bytes", lambda device: 1000)
    rows = {
        row.what: row for row in find_largest(tiny(), [PeakMemory("xgradcam", n, 10 * n) for n in (1, 2)])
    }
    assert rows["xgradcam"].batch == 90
    assert "not tried out" in rows["xgradcam"].how
    assert rows["plain forward"].batch is None
    assert rows["plain forward"].reason


def test_energy_is_the_counters_difference_over_the_images(monkeypatch):
    readings = itertools.count(0.0, 8.0)
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: 0.001 * next(ticks))
    for row in measure_energy(tiny(), lambda: next(readings)):
        images = 8.0 / row.joules_per_image
        assert images == round(images) >= 1
        assert row.watts == 8.0 / row.window_s
        assert row.reason is None


def test_without_a_counter_energy_has_a_reason():
    def broken():
        raise OSError("permission denied")

    assert {row.reason for row in measure_energy(tiny(), broken)} == {"permission denied"}


def test_rapl_adds_packages_and_survives_a_wrap(tmp_path):
    for zone, microjoules in (
        ("intel-rapl:0", 9_000_000),
        ("intel-rapl:1", 1_000_000),
        ("intel-rapl:0:0", 5),
    ):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(str(microjoules))
        (tmp_path / zone / "max_energy_range_uj").write_text("10000000")
    meter = RaplMeter(tmp_path)
    before = meter()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("2000000")
    assert meter() - before == 3
    with pytest.raises(OSError, match="no intel-rapl zone"):
        RaplMeter(tmp_path / "nothing")


def test_nvml_counts_millijoules(monkeypatch):
    counter = SimpleNamespace(nvmlDeviceGetTotalEnergyConsumption=lambda handle: 1500 * handle)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="abc"))
    monkeypatch.setattr(nvml, "_open", lambda uuid: (counter, 2))
    assert nvml.energy_j(torch.device("cuda")) == 3


def test_a_variant_gives_back_the_flags_it_found():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with Variant("tf32", tf32=True).active(torch.device("cuda")):
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def test_a_gpu_is_measured_in_tf32_and_fp16_too():
    names = {variant.name for variant in list_variants(torch.device("cuda"))}
    assert names >= {"fp32", "tf32", "fp16", "bf16", "channels_last"}


def test_bytes_that_must_move_are_those_of_the_tensors():
    assert moved_bytes(torch.empty(3, 4), torch.empty(5, dtype=torch.bool)) == 3 * 4 * 4 + 5

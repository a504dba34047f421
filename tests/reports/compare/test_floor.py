"""A machine's floor: what two runs of equal code differ by, and what it decides."""

import dataclasses
import json

import numpy as np
import pytest

from tests.reports.conftest import processes
from xaimed_bench.cli import main
from xaimed_reports.compare.compare import compare
from xaimed_reports.compare.floor import floor_of, load_floor, smallest_visible_effect, store_floor
from xaimed_reports.store.records import Conditions


def test_two_single_runs_need_the_machines_floor_to_be_called_slower(make_run, make_row):
    base, new = make_run(make_row(wall_s=(0.1,) * 8)), make_run(make_row(wall_s=(0.106,) * 8))
    assert compare([base], [new]).judgements[0].verdict == "unknown"  # 10 % is assumed
    floor = floor_of([make_run(make_row(wall_s=(s,) * 4)) for s in (0.1, 0.1005, 0.0995, 0.1)])
    assert compare([base], [new], floor=floor).judgements[0].verdict == "slower"
    scattered = (0.11, 0.12, 0.1, 0.11, 0.13, 0.11)
    noisy = [make_run(make_row(wall_s=[f * s for s in scattered])) for f in (1.0, 1.06)]
    assert compare(noisy[:1], noisy[1:], floor=floor).judgements[0].verdict == "unknown"


@pytest.mark.parametrize(("noise", "verdict"), [(0.002, "same"), (0.02, "unknown")])
def test_two_single_runs_are_the_same_only_as_far_as_the_machine_can_tell(noise, verdict, make_run, make_row):
    equal = make_run(make_row(wall_s=(0.1,) * 8))
    assert compare([equal], [equal]).judgements[0].verdict == "unknown"
    floor = floor_of(processes(count=12, noise=noise))
    found = compare([equal], [equal], floor=floor).judgements[0]
    assert found.verdict == verdict
    (key,) = floor.spread
    assert found.change.high == pytest.approx(1 + floor.differ(key))


def test_a_floor_holds_19_of_20_comparisons_of_equal_code():
    hits = {1: 0, 6: 0}
    for seed in range(100):
        chance = np.random.default_rng(seed)
        floor = floor_of(processes(count=12, noise=0.03, seed=1000 + seed))
        (key,) = floor.spread
        for count in hits:
            a, b = (np.median(0.03 * chance.standard_normal(count)) for _ in range(2))
            hits[count] += abs(a - b) < np.log1p(floor.differ(key, processes=count))
    assert all(90 <= found <= 100 for found in hits.values())


def test_a_floor_is_wider_for_more_rows_and_narrower_for_more_processes(tmp_path):
    runs = processes(count=12, noise=0.03)
    floor = floor_of(runs)
    (key,) = floor.spread
    assert floor.differ(key, processes=6) < floor.differ(key) < floor.differ(key, among=8)
    assert smallest_visible_effect(floor, key, processes=6) > 0.03
    store_floor(floor, tmp_path / "floor.json", processes=6)
    visible = json.loads((tmp_path / "floor.json").read_text())["smallest_visible_effect"][key]
    assert 0.03 < visible["sides of 6"] < visible["two runs"]
    assert load_floor(tmp_path / "floor.json", runs[0].machine) == floor
    assert load_floor(tmp_path / "floor.json", dataclasses.replace(runs[0].machine, cpu="another")) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"floor": 3}', '{"floor": {"runs": 12}}', "[" * 99_999, "\0"]
)
def test_a_damaged_floor_gives_exit_2_and_one_line(text, make_run, make_row, store, tmp_path, capsys):
    stored, floor = tmp_path / "run.json", tmp_path / "floor.json"
    store(make_run(make_row()), stored)
    floor.write_text(text)
    assert main(["compare", str(stored), str(stored), "--floor-file", str(floor)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "floor.json" in said.err


def test_loaded_rows_are_no_part_of_a_floor():
    quiet = processes(count=6, noise=0.01)
    busy = processes(1.5, count=3, conditions=Conditions(2.0, 0.0, 0.5, 3, 2))
    assert floor_of(quiet + busy) == floor_of(quiet)
    assert floor_of(quiet[:3] + busy).spread == {}


def test_too_few_runs_give_no_floor():
    with pytest.raises(ValueError, match="needs 4 runs"):
        floor_of(processes(count=3))

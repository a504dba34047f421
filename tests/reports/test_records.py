"""Stored results: what is written comes back, and what is no result is refused in one line."""

import dataclasses
import json
import random
import re
from pathlib import Path

import pytest
from msgspec import structs

from xaimed_bench.cli import main
from xaimed_reports.compare.floor import Floor
from xaimed_reports.profile.card import KernelShare, Roofs
from xaimed_reports.profile.static import Accepted
from xaimed_reports.store.jsonform import UnreadableError, from_json, to_json
from xaimed_reports.store.load import load
from xaimed_reports.store.older import row_from
from xaimed_reports.store.ran import Ran
from xaimed_reports.store.records import SCHEMA, Ceiling, Fidelity, Memory, Part, Timing
from xaimed_reports.store.rows import Timed, Untimed

GOLDEN = Path(__file__).parent / "golden"


def test_a_run_comes_back_as_it_was(pair, stored, tmp_path):
    file = tmp_path / "out.json"
    file.write_text(json.dumps(stored(pair)))
    found = load(file)
    assert sorted(map(repr, found.rows)) == sorted(map(repr, pair.rows))
    assert dataclasses.replace(found, rows=()) == dataclasses.replace(pair, rows=())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_went_through_a_windows_shell_loads(encoding, pair, stored, tmp_path):
    file = tmp_path / "out.json"
    file.write_text(json.dumps(stored(pair)), encoding=encoding)
    assert len(load(file).rows) == len(pair.rows)


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("schema-*.json")), ids=lambda f: f.stem)
def test_a_file_of_every_schema_version_loads(file, capsys):
    run = load(file)
    assert {row.status for row in run.rows} >= {"ok", "wrong"}
    assert any(isinstance(row, Timed) and len(row.timing.wall_s) >= 4 for row in run.rows)
    assert main(["report", str(file)]) == 0
    assert "xgradcam" in capsys.readouterr().out


def test_older_rows_become_todays():
    of = {v: load(GOLDEN / f"schema-{v}.json") for v in range(1, SCHEMA + 1)}
    for run in of.values():
        assert run.schema == SCHEMA
        assert {type(row) for row in run.rows} == {Timed, Untimed}
        assert all(isinstance(row, Timed) == (row.status == "ok") for row in run.rows)
    without = [structs.replace(row, ran=None) if isinstance(row, Timed) else row for row in of[3].rows]
    assert list(of[2].rows) == without
    assert next(row.ran for row in of[3].rows if row.impl == "ours") == Ran(
        "one pass", ("gradcam", "hirescam")
    )


def test_todays_rows_are_written_as_the_golden_file_has_them():
    """But for what maps are worth, which is not kept any more."""
    text = json.loads((GOLDEN / f"schema-{SCHEMA}.json").read_text())
    rows = [b["extra_info"]["xaimed"] for b in text["benchmarks"]] + text["xaimed"]["rows"]
    found = load(GOLDEN / f"schema-{SCHEMA}.json")
    assert found.schema == SCHEMA
    assert [to_json(row) for row in found.rows] == [
        {name: value for name, value in row.items() if name not in ("schema", "qualities")} for row in rows
    ]


@pytest.mark.parametrize("schema", [1, 2])
def test_what_ran_is_read_from_the_notes_of_older_schemas(schema, make_row):
    said = {
        "xgradcam: one forward, tail backward; reduction; the layer is only pooled, so that gradcam and hirescam "
        "give the same map": Ran("one pass", ("gradcam", "hirescam")),
        "ablationcam: closed-form: mean keep channels apart, addmm are linear": Ran("closed-form"),
        "ablationcam: delta(1 conv) + replay: relu": None,
    }
    for note, ran in said.items():
        row = to_json(make_row(notes=(note,)))
        assert row_from(row, SCHEMA, "row").ran is None
        assert row_from(row, schema, "row").ran == ran


@pytest.mark.parametrize("suffix", [".json", ".journal.jsonl"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"schema": SCHEMA + 1},
            f"written by a newer xaimed (schema {SCHEMA + 1}); this one reads up to {SCHEMA}",
        ),
        ({"schema": 0}, "must be a whole number from 1"),
        ({"seconds": -1.0}, "seconds must not be negative"),
    ],
)
def test_what_no_run_can_hold_is_refused_by_the_files_name(change, said, suffix, pair, stored, tmp_path):
    data = stored(pair)
    data["xaimed"] |= change
    file = tmp_path / f"out{suffix}"
    journal = json.dumps({"run": data["xaimed"] | {"rows": []}}) + "\n"
    file.write_text(json.dumps(data) if suffix == ".json" else journal)
    with pytest.raises(UnreadableError, match=f"^{re.escape(file.name)}: .*{re.escape(said)}") as caught:
        load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["first_s", "warm_up_s", "device_s"])
def test_seconds_below_zero_are_refused(field, make_timing):
    wrong = [-0.1, 0.1] if field == "device_s" else -0.1
    with pytest.raises(UnreadableError, match="must not be negative"):
        from_json(Timing, to_json(make_timing(0.1, 0.2)) | {field: wrong})


def test_a_row_of_no_kind_is_refused(make_row):
    for change in ({"kind": "guessed"}, {"kind": "untimed"}, {"timing": None}):
        with pytest.raises(UnreadableError, match="row"):
            row_from(to_json(make_row()) | change, SCHEMA, "row")


def test_there_is_a_golden_file_for_every_schema_version():
    assert {f.stem for f in GOLDEN.glob("schema-*.json")} == {f"schema-{v}" for v in range(1, SCHEMA + 1)}


def test_numbers_that_are_not_finite_are_never_written():
    with pytest.raises(ValueError, match="largest"):
        Fidelity("maps", largest=float("nan"), rms=0.0, spread=1.0)
    with pytest.raises(ValueError, match="finite"):
        to_json(Ran("closed-form", float("nan")))  # a field that no range is asked of


def test_samples_that_are_no_times_are_refused(make_timing):
    for wrong in (0.0, -1.0, float("inf")):
        with pytest.raises(ValueError, match="above 0 s"):
            make_timing(0.1, wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"wall_s": "fast"}, r"Timing\.wall_s: Expected `array`, got `str`"),
        ({"wall_s": [0.1, None]}, r"Timing\.wall_s\[1\]: Expected `float`, got `None`"),
        ({"wall_s": [float("nan"), 0.1]}, "above 0 s"),
        ({"first_s": True}, r"Timing\.first_s: Expected `float`, got `bool`"),
        ({"first_s": 10**400}, "below 2\\^63"),
        ({"block": [2**64, 1]}, "below 2\\^63"),
        ({"cache": "\ud800"}, "text of whole characters"),
        ({"order": "random"}, r"Timing\.order: Invalid enum value 'random'"),
    ],
)
def test_a_field_of_another_type_is_named(change, said, make_timing):
    with pytest.raises(UnreadableError, match=said):
        from_json(Timing, to_json(make_timing(0.1, 0.2)) | change)


def test_a_missing_field_is_named(make_row):
    data = to_json(make_row())
    del data["case"]["bench"]
    with pytest.raises(UnreadableError, match=r"Timed\.case: .*missing required field `bench`"):
        from_json(Timed, data)


def test_unknown_fields_of_a_later_release_are_ignored(make_row):
    row = make_row()
    assert from_json(Timed, to_json(row) | {"colour": "blue"}) == row


FOREIGN = {
    "empty": "",
    "no json": "hello",
    "a list": "[]",
    "null": "null",
    "a number": "7",
    "pytest-benchmark of another project": '{"benchmarks": [], "machine_info": {}}',
    "something else": '{"a": 1}',
    "a newer schema": '{"benchmarks": [], "xaimed": {"schema": 99, "rows": []}}',
    "schema of another type": '{"benchmarks": [], "xaimed": {"schema": true, "rows": []}}',
    "deeply nested": "[" * 100_000,
    "binary": "\x00\x01\x02",
    "no rows": '{"benchmarks": [], "xaimed": {"schema": 1}}',
    "benchmarks of another type": '{"benchmarks": {}, "xaimed": {"schema": 1, "rows": []}}',
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_foreign_file_gives_exit_2_and_one_line(text, command, tmp_path, capsys):
    file = tmp_path / "foreign.json"
    file.write_text(text)
    assert main([command, str(file)] if command == "report" else [command, str(file), str(file)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "foreign.json" in said.err
    assert len(said.err) < 300


def test_a_missing_file_gives_exit_2_and_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path / "absent.json")]) == 2
    assert "absent.json: No such file" in capsys.readouterr().err


def test_files_cut_anywhere_are_refused(pair, stored, tmp_path, capsys):
    whole = json.dumps(stored(pair))
    file = tmp_path / "cut.json"
    for at in range(0, len(whole) - 1, 97):
        file.write_text(whole[:at])
        assert main(["report", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == len(range(0, len(whole) - 1, 97))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Memory, {"peak_bytes": -1, "how": "x"}),
        (Part, {"step": "x", "timed": 0, "whole": 3}),
        (Part, {"step": "x", "timed": 4, "whole": 3}),
        (Ceiling, {"channels": 8, "forward_flops": 10, "exact_flops": 0}),
        (Roofs, {"copy_bytes_per_s": 0.0}),
        (Roofs, {"matrix_flops_per_s": {}}),
        (KernelShare, {"seconds": 0.0}),
        (KernelShare, {"moved_bytes": 0}),
        (Floor, {"runs": {"a": 1}}),
        (Floor, {"runs": {"b": 4}}),
        (Floor, {"spread": {"a": -0.1}}),
        (Floor, {"schema": SCHEMA + 1}),
        (Accepted, {"figures": ["fma"], "kernels": {"k": {"sm_90": [1, 2]}}}),
    ],
)
def test_what_was_never_measured_is_refused_where_it_is_read(kind, fields, make_run):
    """Left in, each would end a rendering or a comparison in an error, or in a verdict from nothing."""
    right = {
        Roofs: to_json(Roofs(1e10, 1, {"fp32": 1e12}, 8, 1e-6, 1e-6)),
        KernelShare: to_json(KernelShare("x", "x", "cpu", 1, 1.0, 1.0, 0.5, 0.4, 0.6, 0.7, "copy")),
        Floor: {"machine": to_json(make_run().machine), "spread": {"a": 0.1}, "runs": {"a": 4}},
    }
    with pytest.raises(UnreadableError, match=f"{kind.__name__}: "):
        from_json(kind, right.get(kind, {}) | fields)


@pytest.mark.parametrize(("command", "codes"), [("report", {0, 2}), ("compare", {0, 1, 2, 3})])
def test_values_changed_at_random_crash_no_command(command, codes, pair, stored, tmp_path, capsys):
    """A mutated file is either refused in one line or still a valid run; never a traceback."""
    chance = random.Random(0)
    whole, file = tmp_path / "whole.json", tmp_path / "mutated.json"
    whole.write_text(json.dumps(stored(pair)))
    words = [str(file), "--markdown", "-"] if command == "report" else [str(whole), str(file)]
    refused = 0
    for _ in range(200):
        data = json.loads(whole.read_text())
        for _ in range(chance.randint(1, 3)):
            mutate(data, chance)
        file.write_text(json.dumps(data))
        code = main([command, *words])
        said = capsys.readouterr()
        assert code in codes
        assert said.err.count("\n") == (1 if code == 2 else 0)
        refused += code == 2
    assert 20 < refused < 200


def mutate(data, chance):
    """Replace, remove or duplicate one value somewhere."""
    at = data
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = chance.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and chance.random() < 0.8:
            at = at[key]
            continue
        match chance.randint(0, 2):
            case 0:
                at[key] = chance.choice([None, -1, 0, 1e308, "", "x" * 50, [], {}, True, [None]])
            case 1:
                del at[key]
            case _ if isinstance(at, list):
                at.append(at[key])
            case _:
                at[str(key) + "2"] = at[key]
        return

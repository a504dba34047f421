"""The tradeoff's words follow its numbers: constructed records for each thing that can be said."""

import pytest
from rich.console import Console

from xaimed_bench.cli import main
from xaimed_reports.show.markdown import SECTIONS, markdown
from xaimed_reports.show.page import page
from xaimed_reports.show.terminal import show
from xaimed_reports.store.jsonform import from_json, to_json
from xaimed_reports.store.ran import Ran
from xaimed_reports.store.records import Case, Ceiling, Part
from xaimed_reports.store.rows import Timed
from xaimed_reports.tradeoff.tradeoff import extrapolate, places
from xaimed_reports.tradeoff.tradeoff_words import answer, tables

FORWARD_S = 0.1


@pytest.fixture
def ask(make_row, make_run):
    """A run of one network: ``methods`` by name to forwards, grad-cam's three times as slow."""

    def ask(methods, *, layer="last", batch_s=1.5, fixed_s=0.3, cheap=1.0, ceiling=None, ran=()):
        def row_of(method, forwards, impl="ours", **fields):
            case = Case("trading", {"method": method, "model": "resnet50", "layer": layer, "batch": "4"}, 4)
            return make_row(impl, (forwards * FORWARD_S,) * 6, case=case, **fields)

        rows = []
        for method, forwards in methods.items():
            limit = ceiling if method == "ablationcam" else None
            ways = dict(ran).get(method)
            rows.append(row_of(method, forwards, ceiling=limit, ran=ways))
            if method != "ablationcam":
                rows.append(row_of(method, 3 * forwards, "reference"))
                continue
            rows.append(row_of(method, cheap, "xgradcam"))
            for count in (2, 6):
                took = (fixed_s + count * batch_s) / FORWARD_S
                part = Part("ablation batch of 32", count, 256)
                rows.append(row_of(method, took, f"{count} batches", part=part))
        return make_run(*rows)

    return ask


BOTH = {"xgradcam": 1.0, "ablationcam": 1.05}


def entries(run):
    (place,) = places(run)
    return place.entry("ablationcam"), place.entry("xgradcam")


def test_a_run_without_ablationcam_says_nothing_of_a_tradeoff(pair):
    assert places(pair) == ()
    assert tables(pair) == answer(pair) == []
    with pytest.raises(ValueError, match="bench_tradeoff"):
        SECTIONS["tradeoff"](pair)


def test_the_whole_is_extrapolated_from_two_parts_and_what_is_paid_once(ask):
    exact, _ = entries(ask(BOTH, batch_s=1.5, fixed_s=0.3))
    found = exact.extrapolated
    assert found.step_s == pytest.approx(1.5)
    assert found.fixed_s == pytest.approx(0.3)
    assert found.whole_s == pytest.approx(0.3 + 256 * 1.5)
    assert found.speedup.value == pytest.approx((0.3 + 256 * 1.5) / 0.105)
    assert exact.their_forwards == pytest.approx((0.3 + 256 * 1.5) / FORWARD_S)


def test_a_slow_block_moves_neither_a_step_nor_the_ratio(make_timing):
    parts = [(Part("step", n, 256), make_timing(*[0.3 + n * 1.5] * 5, 9 * (0.3 + n * 1.5))) for n in (2, 6)]
    found = extrapolate(parts, make_timing(*[0.1] * 5, 0.9))
    assert found.step_s == pytest.approx(1.5)
    assert found.speedup.value == pytest.approx(3843, rel=1e-3)


def test_the_arithmetic_is_shown_and_called_extrapolated(ask):
    text = " ".join(answer(ask(BOTH)))
    assert (
        "not run whole. Of its 256 steps, one ablation batch of 32 each, 2 took 3.3 s and 6 took 9.3 s"
        in text
    )
    assert "1.5 s each and 300 ms besides. Extrapolated, not measured: 300 ms + 256 x 1.5 s = 384 s" in text
    (_, rows), *_ = tables(ask(BOTH))
    assert {row[0]: row[2].endswith("*") for row in rows} == {"xgradcam": False, "ablationcam": True}


def test_costs_are_said_over_xgradcam_in_grad_cam_and_here(ask):
    text = " ".join(answer(ask(BOTH)))
    assert "In grad-cam AblationCAM costs 3,843 plain forwards, 1,281 times its XGradCAM" in text
    assert (
        "In xaimed it costs 1.05 plain forwards (the first call, which records the tail, 10), "
        "1.05 times xaimed's XGradCAM: 3,660" in text
    )


def test_the_mathematics_is_said_only_where_the_routes_say_so(ask):
    pooled = ("xgradcam", Ran("one pass", ("gradcam",))), ("ablationcam", Ran("closed-form"))
    assert "only pooling and a linear layer" in answer(ask(BOTH, ran=pooled))[0]
    for ran in ((), pooled[:1], pooled[1:], (("xgradcam", Ran("one pass")), pooled[1])):
        assert "only pooling" not in answer(ask(BOTH, ran=ran))[0]


def test_the_ceiling_and_the_share_reached_are_said(ask):
    run = ask(BOTH, ceiling=Ceiling(2048, 4_000_000_000, 8_192_000_000))
    assert (
        "Ceiling: 2048 forwards of 4 GFLOP over 8.192 GFLOP that exactness leaves = 1,000x; "
        "by time 1,950x is reached, 195% of it"
    ) in answer(run)[0]


def test_every_view_shows_the_same_answer(ask):
    run = ask(BOTH)
    out = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(run, out)
    out.file.close()
    for text in (out.export_text(), markdown(run), page(run, {}), SECTIONS["tradeoff"](run)):
        assert "In xaimed it costs 1.05 plain forwards" in text
        assert "What maps are worth is judged by xaimed evaluate" in text
        assert "above what was resident, xaimed / grad-cam" in text


def test_the_command_writes_the_section(ask, pair, store, tmp_path, capsys):
    words = ["report", str(tmp_path / "out.json"), "--section", "tradeoff", "--markdown", "-"]
    store(ask(BOTH), tmp_path / "out.json")
    assert main(words) == 0
    assert "In xaimed it costs 1.05 plain forwards" in capsys.readouterr().out
    store(pair, tmp_path / "out.json")
    assert main(words) == 2
    assert "this run holds no AblationCAM beside cheaper maps" in capsys.readouterr().err


def test_parts_and_ceilings_come_back_as_it_was(make_row):
    row = make_row(part=Part("step", 2, 64), ceiling=Ceiling(8, 10, 20))
    assert from_json(Timed, to_json(row)) == row
    assert row.ceiling.times == 4

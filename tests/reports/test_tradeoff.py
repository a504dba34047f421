"""The tradeoff's words follow its numbers: constructed records for each thing that can be said."""

import pytest
from rich.console import Console

from xaimed_bench.cli import main
from xaimed_reports.show.drawing import standing_alone
from xaimed_reports.show.markdown import SECTIONS, markdown
from xaimed_reports.show.page import page
from xaimed_reports.show.terminal import show
from xaimed_reports.store.jsonform import from_json, to_json
from xaimed_reports.store.ran import Ran
from xaimed_reports.store.records import Case, Ceiling, Fidelity, Part, Quality
from xaimed_reports.store.rows import Timed
from xaimed_reports.tradeoff.tradeoff import EQUAL_COST, advise, extrapolate, gains, places
from xaimed_reports.tradeoff.tradeoff_figure import Mark, front, pictures
from xaimed_reports.tradeoff.tradeoff_words import answer, in_short, recommendations, tables

FORWARD_S = 0.1
COUNT = 8
WOBBLE = (0.01, -0.01, 0.005, -0.005, 0.002, -0.002, 0.008, -0.008)


def agreement(rho=0.9, largest=0.3):
    return Fidelity("maps in [0, 1]", largest, largest / 3, 1.0, rho, rho, rho - 0.1)


def quality(deletion=0.3, insertion=0.6, lesion=0.2, *, images="scans", wobble=True, **fields):
    """Values of `COUNT` images around means; the wobble differs between measures, so that pairs do not cancel."""
    shift = WOBBLE if wobble else (0.0,) * COUNT
    defaults = {
        "images": images,
        "network": "a network",
        "agreement": agreement(),
        "deletion": tuple(deletion + s for s in shift),
        "insertion": tuple(insertion + s for s in reversed(shift)),
        "in_lesion": tuple(lesion + s for s in shift) if images != "scans" else (),
        "lesion_area": (0.02,) * COUNT if images != "scans" else (),
    }
    return Quality(**(defaults | fields))


@pytest.fixture
def ask(make_row, make_run):
    """A run of one network: ``methods`` by name to (forwards, qualities), grad-cam's three times as slow."""

    def ask(methods, *, layer="last", batch_s=1.5, fixed_s=0.3, cheap=1.0, ceiling=None, ran=()):
        def row_of(method, forwards, impl="ours", **fields):
            case = Case("trading", {"method": method, "model": "resnet50", "layer": layer, "batch": "4"}, 4)
            return make_row(impl, (forwards * FORWARD_S,) * 6, case=case, **fields)

        rows = []
        for method, (forwards, qualities) in methods.items():
            limit = ceiling if method == "ablationcam" else None
            ways = dict(ran).get(method)
            rows.append(row_of(method, forwards, qualities=qualities, ceiling=limit, ran=ways))
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


def both(cheap, exact):
    return {"xgradcam": (1.0, (cheap,)), "ablationcam": (1.05, (exact,))}


def entries(run):
    (place,) = places(run)
    return place.entry("ablationcam"), place.entry("xgradcam")


def test_a_run_that_judged_no_maps_says_nothing_of_a_tradeoff(pair):
    assert places(pair) == ()
    assert tables(pair) == answer(pair) == recommendations(pair) == pictures(pair) == []
    with pytest.raises(ValueError, match="bench_tradeoff"):
        SECTIONS["tradeoff"](pair)


def test_a_run_that_only_timed_shows_what_ablationcam_costs_and_judges_nothing(ask):
    run = ask({"xgradcam": (1.0, ()), "ablationcam": (1.05, ())})
    ((name, rows),) = tables(run)
    assert name == "resnet50, last layer, 4 images"
    assert {row[4:] for row in rows} == {("-",) * 5}
    said = " ".join(answer(run))
    assert "In xaimed it costs 1.05 plain forwards" in said
    assert "Extrapolated, not measured" in said
    assert "worth was not judged here: xaimed evaluate does so" in said
    assert not any(word in said for word in ("The rule", "Judged on", "buys", "the same map", "Recommended"))
    assert in_short(run)[1][0][4:] == ("-", "not judged")
    assert recommendations(run) == pictures(run) == []
    assert SECTIONS["tradeoff-in-short"](run).count("\n\n") == 1


def test_the_whole_is_extrapolated_from_two_parts_and_what_is_paid_once(ask):
    exact, _ = entries(ask(both(quality(), quality()), batch_s=1.5, fixed_s=0.3))
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
    text = " ".join(answer(ask(both(quality(), quality()))))
    assert (
        "not run whole. Of its 256 steps, one ablation batch of 32 each, 2 took 3.3 s and 6 took 9.3 s"
        in text
    )
    assert "1.5 s each and 300 ms besides. Extrapolated, not measured: 300 ms + 256 x 1.5 s = 384 s" in text
    (_, rows), *_ = tables(ask(both(quality(), quality())))
    assert {row[0]: row[2].endswith("*") for row in rows} == {"xgradcam": False, "ablationcam": True}


def test_costs_are_said_over_xgradcam_in_grad_cam_and_here(ask):
    text = " ".join(answer(ask(both(quality(), quality()))))
    assert "In grad-cam AblationCAM costs 3,843 plain forwards, 1,281 times its XGradCAM" in text
    assert (
        "In xaimed it costs 1.05 plain forwards (the first call, which records the tail, 10), "
        "1.05 times xaimed's XGradCAM: 3,660" in text
    )


@pytest.mark.parametrize(
    ("cheap", "exact", "said", "unsaid"),
    [
        (
            quality(agreement=agreement(1.0, 3e-6)),
            quality(agreement=agreement(1.0, 0.0)),
            ["same map (largest difference 3e-06)", "buys nothing"],
            ["rho", "better", "worse"],
        ),
        (
            quality(0.3, 0.6),
            quality(0.25, 0.6, wobble=False),
            ["agree with it at rho 0.90", "buys a better deletion by 0.05"],
            ["worse", "loses", "insertion by"],
        ),
        (
            quality(0.3, 0.6),
            quality(0.3, 0.5, wobble=False),
            ["worse map: insertion by 0.1"],
            ["better"],
        ),
        (
            quality(0.3, 0.6),
            quality(0.25, 0.5, wobble=False),
            ["buys a better deletion by 0.05", "a worse insertion by 0.1"],
            ["nothing"],
        ),
        (
            quality(0.3, 0.6),
            quality(0.301, 0.601, wobble=False),
            ["buys nothing that these images show", "(nearest to it: worse deletion by 0.001"],
            ["better", "buys a"],
        ),
    ],
    ids=["coincide", "gained", "lost", "both", "nothing gained"],
)
def test_what_the_cost_buys_follows_the_numbers(ask, cheap, exact, said, unsaid):
    text = answer(ask(both(cheap, exact)))[0]
    assert all(words in text for words in said), text
    assert not any(words in text for words in unsaid), text


def test_a_lesion_found_better_counts_and_every_kind_of_images_is_named(ask):
    cheap, exact = (
        (quality(), quality(lesion=lesion, images="phantoms", wobble=False)) for lesion in (0.2, 0.3)
    )
    run = ask({"xgradcam": (1.0, cheap), "ablationcam": (1.05, exact)})
    assert "share of the map inside the lesion by 0.1 ±" in answer(run)[0]
    assert ", ".join(f"{g.measure} {g.images}" for g in gains(*entries(run))) == (
        "deletion scans, insertion scans, deletion phantoms, insertion phantoms, in_lesion phantoms"
    )
    assert "8 scans and 8 phantoms" in answer(run)[-1]
    assert "Lesions take 2.0% of a phantom" in answer(run)[-1]
    assert "The most any map has is 30.0% (ablationcam, resnet50, last layer)" in answer(run)[-1]


def test_a_lesion_that_neither_map_finds_tells_nothing(ask):
    cheap, exact = (
        (quality(lesion=lesion, images="phantoms", wobble=False, lesion_area=(0.4,) * COUNT),)
        for lesion in (0.2, 0.3)
    )
    run = ask({"xgradcam": (1.0, cheap), "ablationcam": (1.05, exact)})
    assert [g.measure for g in gains(*entries(run))] == ["deletion", "insertion"]


def test_the_mathematics_is_said_only_where_the_routes_say_so(ask):
    pooled = ("xgradcam", Ran("one pass", ("gradcam",))), ("ablationcam", Ran("closed-form"))
    assert "only pooling and a linear layer" in answer(ask(both(quality(), quality()), ran=pooled))[0]
    for ran in ((), pooled[:1], pooled[1:], (("xgradcam", Ran("one pass")), pooled[1])):
        assert "only pooling" not in answer(ask(both(quality(), quality()), ran=ran))[0]


def test_the_ceiling_and_the_share_reached_are_said(ask):
    run = ask(both(quality(), quality()), ceiling=Ceiling(2048, 4_000_000_000, 8_192_000_000))
    assert (
        "Ceiling: 2048 forwards of 4 GFLOP over 8.192 GFLOP that exactness leaves = 1,000x; "
        "by time 1,950x is reached, 195% of it"
    ) in answer(run)[0]


@pytest.mark.parametrize(
    ("scores", "costs", "chosen"),
    [
        ({"xgradcam": 0.30, "ablationcam": 0.30}, {"xgradcam": 1.0, "ablationcam": 3.0}, "xgradcam"),
        ({"xgradcam": 0.20, "ablationcam": 0.30}, {"xgradcam": 1.0, "ablationcam": 3.0}, "ablationcam"),
        ({"xgradcam": 0.299, "ablationcam": 0.30}, {"xgradcam": 1.0, "ablationcam": 3.0}, "xgradcam"),
        ({"xgradcam": 0.299, "ablationcam": 0.30}, {"xgradcam": 1.0, "ablationcam": 1.05}, "ablationcam"),
        ({"xgradcam": 0.30, "ablationcam": 0.20}, {"xgradcam": 3.0, "ablationcam": 1.0}, "xgradcam"),
    ],
    ids=["as good, cheaper", "worse, cheaper", "nearly as good, cheaper", "same cost", "best, costlier"],
)
def test_the_recommended_map_is_the_cheapest_of_the_best(ask, scores, costs, chosen):
    assert EQUAL_COST > 1.05
    given = {
        name: (costs[name], (quality(0.3, 0.3 + score, wobble=name == "xgradcam"),))
        for name, score in scores.items()
    }
    run = ask(given)
    advice = advise(places(run))
    assert advice.chosen[1].method == chosen
    (said,) = recommendations(run)
    assert f"Recommended for resnet50: {chosen} at the last layer: {costs[chosen]:.3g} plain forwards" in said
    assert "exact AblationCAM" in said
    assert ("the highest of all measured" in said) == (advice.chosen == advice.best)


def test_layers_are_weighed_against_each_other(ask, make_run):
    runs = [
        ask(both(quality(0.3, 0.5), quality(0.3, 0.5))),
        ask(both(quality(0.3, 0.9), quality(0.3, 0.5)), layer="earlier"),
    ]
    (said,) = recommendations(make_run(*runs[0].rows, *runs[1].rows))
    assert "xgradcam at the earlier layer" in said


def test_every_view_shows_the_same_answer(ask):
    run = ask(both(quality(), quality()))
    out = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(run, out)
    out.file.close()
    views = [out.export_text(), markdown(run), page(run, {}), SECTIONS["tradeoff"](run)]
    for text in views:
        assert "Recommended for resnet50" in text
        assert "in lesion" in text
    head, rows = in_short(run)
    assert all(cell in SECTIONS["tradeoff-in-short"](run).replace("\\", "") for cell in (*head, *rows[0]))


def test_the_front_holds_what_nothing_beats():
    marks = [
        Mark(name, "last", x, None, y)
        for name, x, y in (("a", 1, 1), ("b", 2, 0.5), ("c", 3, 2), ("d", 1, 0))
    ]
    assert [m.name for m in front(marks)] == ["a", "c"]


def test_a_picture_names_every_map_once_and_stands_alone(ask):
    ((caption, drawing),) = pictures(ask(both(quality(), quality(0.2, 0.7))))
    assert "resnet50" in caption
    for name in ("xgradcam, last", "ablationcam, last"):
        assert drawing.count(f">{name}</text>") == 1
    alone = standing_alone(drawing)
    assert alone.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "prefers-color-scheme:dark" in alone


def test_the_command_writes_a_section_and_the_pictures(ask, pair, store, tmp_path, capsys):
    store(ask(both(quality(), quality())), tmp_path / "out.json")
    words = ["report", str(tmp_path / "out.json"), "--section", "tradeoff-in-short", "--markdown", "-"]
    assert main([*words, "--svg", str(tmp_path)]) == 0
    assert "Recommended for resnet50" in capsys.readouterr().out
    assert (tmp_path / "out-resnet50.svg").read_text().startswith("<svg xmlns")
    store(pair, tmp_path / "out.json")
    assert main(words) == 2
    assert "this run holds no AblationCAM beside cheaper maps" in capsys.readouterr().err


def test_what_is_known_of_maps_comes_back_as_it_was(make_row):
    row = make_row(
        part=Part("step", 2, 64), ceiling=Ceiling(8, 10, 20), qualities=(quality(images="phantoms"),)
    )
    assert from_json(Timed, to_json(row)) == row
    assert row.ceiling.times == 4
